import { hrefOf, type Route } from "./route";

interface TabsProps {
  label: string;
  current: string;
  tabs: readonly { name: string; label: string; route: Route }[];
}

/** Views of one thing. They are links, each with an address of its own. */
export function Tabs({ label, current, tabs }: TabsProps) {
  return (
    <nav className="tabs" aria-label={label}>
      {tabs.map((tab) => (
        <a key={tab.name} href={hrefOf(tab.route)} aria-current={tab.name === current ? "page" : undefined}>
          {tab.label}
        </a>
      ))}
    </nav>
  );
}
