// Markdown as React elements. A model's text is untrusted, so no HTML of it ever reaches the page: the lexer's tokens
// become elements one by one, raw HTML is shown as the text it is, and pictures become links, since loading one tells
// its server who reads.

import { lexer, type Token, type Tokens } from "marked";
import { Fragment, memo, type ReactNode } from "react";
import { CopyButton } from "./copy-button";
import { webLink } from "./web-link";

/** Blocks are compared by their source, so that of a growing answer only the last block is laid out anew. */
export function Markdown({ text }: { text: string }) {
  const blocks = lexer(text).filter((token) => token.type !== "space");
  return (
    <div className="markdown">
      {blocks.map((token, index) => (
        <Block key={index} token={token} />
      ))}
    </div>
  );
}

const Block = memo(
  function Block({ token }: { token: Token }) {
    return renderBlock(token as Tokens.Generic);
  },
  (before, after) => before.token.type === after.token.type && before.token.raw === after.token.raw,
);

function renderBlock(token: Tokens.Generic): ReactNode {
  switch (token.type) {
    case "paragraph":
      return <p>{inline(token.tokens)}</p>;
    case "text":
      return inline(token.tokens) ?? token.text;
    case "heading": {
      // The page's own headings are h1 and h2.
      const Heading = `h${Math.min(token.depth + 2, 6)}` as "h3";
      return <Heading>{inline(token.tokens)}</Heading>;
    }
    case "code":
      return <CodeBlock code={token.text} language={token.lang} />;
    case "blockquote":
      return <blockquote>{blocks(token.tokens)}</blockquote>;
    case "list":
      return <List list={token as Tokens.List} />;
    case "table":
      return <Table table={token as Tokens.Table} />;
    case "hr":
      return <hr />;
    case "html":
      return <p>{token.raw}</p>;
    default:
      return inline([token]);
  }
}

function blocks(tokens: Token[] | undefined): ReactNode {
  return tokens?.map((token, index) => <Fragment key={index}>{renderBlock(token as Tokens.Generic)}</Fragment>);
}

function inline(tokens: Token[] | undefined): ReactNode {
  return tokens?.map((token, index) => <Fragment key={index}>{renderInline(token as Tokens.Generic)}</Fragment>);
}

function renderInline(token: Tokens.Generic): ReactNode {
  switch (token.type) {
    case "strong":
      return <strong>{inline(token.tokens)}</strong>;
    case "em":
      return <em>{inline(token.tokens)}</em>;
    case "del":
      return <del>{inline(token.tokens)}</del>;
    case "codespan":
      return <code>{token.text}</code>;
    case "br":
      return <br />;
    case "link":
      return <Link href={token.href}>{inline(token.tokens)}</Link>;
    case "image":
      return <Link href={token.href}>{token.text || token.href}</Link>;
    case "text":
      return inline(token.tokens) ?? token.text;
    case "escape":
      return token.text;
    default:
      return token.raw;
  }
}

function Link({ href, children }: { href: string; children: ReactNode }) {
  const link = webLink(href);
  return link ? <a {...link}>{children}</a> : children;
}

function List({ list }: { list: Tokens.List }) {
  const items = list.items.map((item, index) => (
    <li key={index} className={item.task ? "task" : undefined}>
      {item.task && <input type="checkbox" checked={item.checked ?? false} readOnly disabled />}
      {blocks(item.tokens.filter(({ type }) => type !== "checkbox"))}
    </li>
  ));
  return list.ordered ? <ol start={list.start || 1}>{items}</ol> : <ul>{items}</ul>;
}

function Table({ table }: { table: Tokens.Table }) {
  return (
    <div className="table-frame" tabIndex={0} role="group" aria-label="Table">
      <table>
        <thead>
          <tr>
            {table.header.map((cell, index) => (
              <th key={index} data-align={cell.align}>
                {inline(cell.tokens)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {table.rows.map((row, index) => (
            <tr key={index}>
              {row.map((cell, column) => (
                <td key={column} data-align={cell.align}>
                  {inline(cell.tokens)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function CodeBlock({ code, language }: { code: string; language: string | undefined }) {
  return (
    <figure className="code-block">
      <figcaption>
        <span>{language?.split(/\s/)[0] || "text"}</span>
        <CopyButton text={code} />
      </figcaption>
      <pre tabIndex={0}>
        <code>{code}</code>
      </pre>
    </figure>
  );
}
