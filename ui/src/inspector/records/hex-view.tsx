const LINE_BYTES = 16;
const MOST_BYTES = 16 * 1024;

/** Bytes as offset, hexadecimal digits and the characters they would be. */
export function HexView({ bytes }: { bytes: Uint8Array }) {
  const lines = [];
  for (let start = 0; start < Math.min(bytes.length, MOST_BYTES); start += LINE_BYTES) {
    const line = bytes.subarray(start, start + LINE_BYTES);
    const digits = Array.from(line, (byte) => byte.toString(16).padStart(2, "0"));
    const text = Array.from(line, (byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·")).join("");
    const left = digits.slice(0, 8).join(" ").padEnd(23);
    const right = digits.slice(8).join(" ").padEnd(23);
    lines.push(`${start.toString(16).padStart(4, "0")}  ${left} ${right}  ${text}`);
  }
  return (
    <>
      <pre className="body hex">{lines.join("\n")}</pre>
      {bytes.length > MOST_BYTES && <p className="soft">The first 16 KiB of it.</p>}
    </>
  );
}
