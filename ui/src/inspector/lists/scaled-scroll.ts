// Browsers cap the height of an element at some ten million pixels, a stream does not cap its records. Beyond
// `MAX_EXTENT` the scrollbar stands for more pixels than it has.

export const MAX_EXTENT = 6_000_000;

export interface Extent {
  /** Of all rows, in pixels as they are drawn. */
  total: number;
  /** Of what is seen of them. */
  view: number;
}

/** The height of what the browser scrolls. */
export function scrolledHeight({ total, view }: Extent): number {
  return Math.max(Math.min(total, MAX_EXTENT), view);
}

export function isScaled({ total }: Extent): boolean {
  return total > MAX_EXTENT;
}

/** The first drawn pixel that shows when the browser has scrolled to `scrollTop`. */
export function topOf(scrollTop: number, extent: Extent): number {
  if (!isScaled(extent)) return clampTop(scrollTop, extent);
  return clampTop((scrollTop / (MAX_EXTENT - extent.view)) * (extent.total - extent.view), extent);
}

/** Where the browser has to scroll to for `top` to be the first drawn pixel. */
export function scrollTopOf(top: number, extent: Extent): number {
  if (!isScaled(extent)) return top;
  return (top / (extent.total - extent.view)) * (MAX_EXTENT - extent.view);
}

export function clampTop(top: number, { total, view }: Extent): number {
  return Math.max(0, Math.min(top, total - view));
}
