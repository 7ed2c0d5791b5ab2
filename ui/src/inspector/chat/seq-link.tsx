import { formatCount } from "../format";

export type OpenRecord = (seqNum: number) => void;

/** A sequence number that leads to its record. */
export function SeqLink({ seqNum, openRecord }: { seqNum: number; openRecord: OpenRecord }) {
  return (
    <button className="seq-link" title={`Show record ${formatCount(seqNum)}`} onClick={() => openRecord(seqNum)}>
      <span className="hidden">record </span>#{seqNum}
    </button>
  );
}
