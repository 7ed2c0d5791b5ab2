const PAGES = [
  { path: "/", name: "AI SDK" },
  { path: "/anthropic", name: "Anthropic" },
  { path: "/agent", name: "Agent" },
];

/** The pages of the demo; this is the first one. The others are plain files of the server. */
export function PageList() {
  return (
    <ul className="pages" aria-label="Demos">
      {PAGES.map(({ path, name }) => (
        <li key={path}>
          <a href={path} aria-current={path === "/" ? "page" : undefined}>
            {name}
          </a>
        </li>
      ))}
    </ul>
  );
}
