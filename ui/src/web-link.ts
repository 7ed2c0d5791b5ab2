/** The attributes of a link that a model wrote; null for what is no address on the web. */
export function webLink(href: string | undefined) {
  if (!href || !URL.canParse(href)) return null;
  const { protocol } = new URL(href);
  if (protocol !== "https:" && protocol !== "http:" && protocol !== "mailto:") return null;
  return { href, target: "_blank", rel: "noopener noreferrer nofollow" };
}
