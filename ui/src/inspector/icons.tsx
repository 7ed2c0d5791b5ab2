// More of the same drawing as ../icons, on a grid of 20.

import type { ReactNode } from "react";

export { Check, Copy, Cross, Plus } from "../icons";

function icon(shape: ReactNode) {
  return function Icon() {
    return (
      <svg className="icon" viewBox="0 0 20 20" aria-hidden="true">
        {shape}
      </svg>
    );
  };
}

export const Search = icon(<path d="M13.2 13.2 16.5 16.5M14.5 8.8a5.7 5.7 0 1 1-11.4 0 5.7 5.7 0 0 1 11.4 0Z" />);
export const Pause = icon(<path d="M7.2 5v10M12.8 5v10" />);
export const Play = icon(<path d="M6.5 4.8v10.4L15 10z" fill="currentColor" />);
export const ToEnd = icon(<path d="M10 3.5v9M5.6 8.4l4.4 4.4 4.4-4.4M5 16.5h10" />);
export const Lock = icon(<path d="M5 9h10v7H5zM7 9V6.8a3 3 0 0 1 6 0V9" />);
export const Bin = icon(<path d="M4 5.8h12M8 5.5V4h4v1.5M5.5 6l.7 10h7.6l.7-10" />);
export const Key = icon(<path d="M11.2 8.8 16.5 3.5M13.5 6.5l2 2M11.5 12a3.8 3.8 0 1 1-7.6 0 3.8 3.8 0 0 1 7.6 0Z" />);
export const Question = icon(<path d="M7.4 7.6a2.6 2.6 0 1 1 3.9 2.3c-.8.5-1.3 1-1.3 2M10 14.6v.1" />);
export const Shield = icon(<path d="M10 3.2 15.8 5v4.6c0 3.4-2.3 5.9-5.8 7.2-3.5-1.3-5.8-3.8-5.8-7.2V5z" />);
export const Scissors = icon(<path d="M7.6 12.4 15.5 4M7.6 7.6l7.9 8.4M8.4 6a2.2 2.2 0 1 1-4.4 0 2.2 2.2 0 0 1 4.4 0ZM8.4 14a2.2 2.2 0 1 1-4.4 0 2.2 2.2 0 0 1 4.4 0Z" />);
