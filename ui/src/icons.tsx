// Drawn on a grid of 20, in the colour of the text beside them.

import type { ReactNode } from "react";

function icon(shape: ReactNode) {
  return function Icon() {
    return (
      <svg className="icon" viewBox="0 0 20 20" aria-hidden="true">
        {shape}
      </svg>
    );
  };
}

export const ArrowUp = icon(<path d="M10 16V4.5M4.8 9.6 10 4.4l5.2 5.2" />);
export const ArrowDown = icon(<path d="M10 4v11.5M4.8 10.4l5.2 5.2 5.2-5.2" />);
export const Square = icon(<rect x="5.5" y="5.5" width="9" height="9" rx="1.5" fill="currentColor" stroke="none" />);
export const Plus = icon(<path d="M10 4.5v11M4.5 10h11" />);
export const Cross = icon(<path d="m5.5 5.5 9 9m0-9-9 9" />);
export const Menu = icon(<path d="M3.5 6h13M3.5 10h13M3.5 14h8" />);
export const Copy = icon(<path d="M7.5 7.5V4.2h8.3v8.3h-3.3M4.2 7.5h8.3v8.3H4.2z" />);
export const Check = icon(<path d="m4.5 10.5 3.7 3.7 7.3-8" />);
export const Again = icon(<path d="M15.8 10a5.8 5.8 0 1 1-1.7-4.1l1.7 1.7m0-3.8v3.8H12" />);
export const Pencil = icon(<path d="m4.2 15.8.8-3.4 8-8 2.6 2.6-8 8zM11.4 6l2.6 2.6" />);
export const NewTab = icon(<path d="M8 4.5H4.5v11h11V12M11.5 4.5h4v4M15.5 4.5 9 11" />);
