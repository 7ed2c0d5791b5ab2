import { formatCount } from "../format";
import { ToEnd } from "../icons";

/** What came since one looked away from the tail. */
export function NewRecords({ count, onShow }: { count: number; onShow: () => void }) {
  return (
    <button className="new-records" onClick={onShow}>
      <ToEnd /> {formatCount(count)} new record{count === 1 ? "" : "s"}
    </button>
  );
}
