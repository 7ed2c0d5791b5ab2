// Keeps the end in sight while the content grows, until the reader scrolls away from it.

import { one } from "./elements.js";

/** So near to the end counts as at the end. */
const NEAR_PX = 60;

/** Gives a function that goes to the end and follows it again. */
export function followEnd() {
  const box = one(".viewport");
  let following = true;
  let lastTop = 0;

  const toEnd = () => {
    box.scrollTop = box.scrollHeight;
    lastTop = box.scrollTop;
  };
  const follow = () => {
    following = true;
    one(".to-end").hidden = true;
    toEnd();
  };
  const observer = new ResizeObserver(() => following && toEnd());
  observer.observe(one(".viewport-content"));
  observer.observe(box);

  box.addEventListener("scroll", () => {
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_PX;
    const wentUp = box.scrollTop < lastTop - 2; // growing content moves nothing up: only the reader does
    lastTop = box.scrollTop;
    if (atEnd && !wentUp) following = true;
    else if (wentUp) following = false;
    one(".to-end").hidden = following || atEnd;
  });
  one(".to-end button").addEventListener("click", follow);
  return follow;
}
