import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app";
import "../style/fonts.css";
import "../style/base.css";
import "./style/frame.css";
import "./style/controls.css";
import "./style/lists.css";
import "./style/records.css";

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
