import { useState } from "react";
import { Check, Copy } from "./icons";

export function CopyButton({ text }: { text: string }) {
  const [copied, setCopied] = useState(false);
  if (!text || !navigator.clipboard) return null; // browsers offer it on https and localhost only
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return (
    <button className="quiet" aria-label={copied ? "Copied" : "Copy"} title="Copy" onClick={copy}>
      {copied ? <Check /> : <Copy />}
    </button>
  );
}
