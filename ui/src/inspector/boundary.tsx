import { Component, type ReactNode } from "react";
import { Problem } from "./problem";

interface BoundaryProps {
  /** What is shown: when it changes, it is tried anew. */
  showing: string;
  children: ReactNode;
}

/** Records are anybody's bytes: one that this page fails at takes nothing down but its own view. */
export class Boundary extends Component<BoundaryProps, { error?: unknown }> {
  override state: { error?: unknown } = {};

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override componentDidUpdate(before: BoundaryProps) {
    if (before.showing !== this.props.showing && this.state.error !== undefined) this.setState({ error: undefined });
  }

  override render() {
    const { error } = this.state;
    if (error === undefined) return this.props.children;
    return <Problem error={error} retry={() => this.setState({ error: undefined })} />;
  }
}
