import "../no-eval";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "../app";
import { Conversation } from "./conversation";

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <App kind="tanstack" name="Perdure · TanStack AI" Conversation={Conversation} />
  </StrictMode>,
);
