// Where the user writes: what is typed survives a reload, Enter sends, Escape stops where there is something to stop.

import { one } from "./elements.js";

/** Send turns into Stop under the pointer: the second click of a double click must not stop what the first one sent. */
const STOP_AFTER_MS = 400;

export class Composer {
  #key;
  #onSend;
  #onStop;
  #status = "loading";
  #offline = false;
  #canStop = false;
  #stopTimer;
  #box = one(".composer textarea");
  #send = one(".composer .send");
  #stop = one(".composer .stop");
  #placeholder = this.#box.placeholder;

  constructor({ key, onSend, onStop }) {
    this.#key = key;
    this.#onSend = onSend;
    this.#onStop = onStop;
    this.#box.value = sessionStorage.getItem(key) ?? "";
    this.#box.addEventListener("input", () => this.#draw());
    this.#box.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    one(".composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#stop?.addEventListener("click", () => this.#doStop());
    addEventListener("keydown", (event) => event.key === "Escape" && this.#doStop());
    this.#draw();
  }

  /** Let the user write, once there is what an answer can be shown in. */
  show() {
    const form = one(".composer");
    if (!form.hidden) return;
    form.hidden = false;
    this.#draw(); // the height of the box could not be measured before
    // A phone would open its keyboard over the answer.
    if (matchMedia("(pointer: fine)").matches) this.#box.focus();
  }

  /** Show a new status, or that the server is away. True if a turn has begun or ended. */
  update({ status = this.#status, offline = this.#offline }) {
    const wasBusy = this.#isBusy;
    this.#status = status;
    this.#offline = offline;
    if (this.#isBusy !== wasBusy) {
      clearTimeout(this.#stopTimer);
      this.#canStop = false;
      if (this.#isBusy) this.#stopTimer = setTimeout(() => this.#allowStop(), STOP_AFTER_MS);
    }
    this.#draw();
    return this.#isBusy !== wasBusy;
  }

  /** Say something above the box, or nothing. */
  notice(text = "") {
    const line = one(".composer-notice");
    line.textContent = text;
    line.hidden = text === "";
  }

  /** Put a question back that was not taken, in front of what was typed since. */
  giveBack(text, why) {
    this.#box.value = this.#box.value ? `${text}\n\n${this.#box.value}` : text;
    this.notice(why);
    this.#draw();
  }

  get #isBusy() {
    return this.#status === "submitted" || this.#status === "streaming";
  }

  get #canSend() {
    return this.#status === "ready" && !this.#offline && this.#box.value.trim() !== "";
  }

  #submit() {
    if (!this.#canSend) return; // what is typed stays
    const text = this.#box.value.trim();
    this.#box.value = "";
    this.#draw();
    this.#onSend(text);
  }

  #allowStop() {
    this.#canStop = true;
    this.#draw();
  }

  async #doStop() {
    if (!this.#canStop || this.#offline || !this.#isBusy) return;
    this.#canStop = false;
    this.#stop.setAttribute("aria-busy", "true");
    this.#draw();
    await this.#onStop();
    this.#stop.removeAttribute("aria-busy");
    this.#canStop = this.#isBusy;
    this.#draw();
  }

  #draw() {
    if (this.#box.value) sessionStorage.setItem(this.#key, this.#box.value);
    else sessionStorage.removeItem(this.#key);
    this.#box.style.height = "auto";
    this.#box.style.height = `${this.#box.scrollHeight}px`;
    this.#box.placeholder = this.#offline ? "You can go on typing; sending waits for the server" : this.#placeholder;
    const hadFocus = document.activeElement === this.#stop || document.activeElement === this.#send;
    if (this.#stop) {
      this.#stop.hidden = !this.#isBusy;
      this.#stop.disabled = !this.#canStop || this.#offline;
    }
    this.#send.hidden = this.#isBusy;
    this.#send.disabled = !this.#canSend;
    if (hadFocus && document.activeElement === document.body) this.#box.focus();
    const status = one(".composer .status");
    if (!status) return;
    if (status.textContent !== this.#status) status.textContent = this.#status;
    status.dataset.status = this.#status;
  }
}
