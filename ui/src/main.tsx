import "./no-eval";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app";
import { Conversation } from "./conversation";
import "./style/fonts.css";
import "./style/base.css";
import "./style/layout.css";
import "./style/conversation.css";
import "./style/markdown.css";
import "./style/composer.css";

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <App kind="aisdk" name="Perdure" Conversation={Conversation} />
  </StrictMode>,
);
