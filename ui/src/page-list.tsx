import { PAGES, type PageKind } from "./pages";

export function PageList({ current }: { current: PageKind }) {
  return (
    <ul className="pages" aria-label="Demos">
      {PAGES.map(({ kind, path, name }) => (
        <li key={path}>
          <a href={path} aria-current={kind === current ? "page" : undefined}>
            {name}
          </a>
        </li>
      ))}
    </ul>
  );
}
