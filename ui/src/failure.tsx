import { Again } from "./icons";

interface FailureProps {
  text: string;
  onRetry: () => void;
  disabled: boolean;
}

export function Failure({ text, onRetry, disabled }: FailureProps) {
  return (
    <div className="failure" data-testid="error" role="alert">
      <p>{text}</p>
      <button onClick={onRetry} disabled={disabled}>
        <Again /> Try again
      </button>
    </div>
  );
}
