"""What a process need not look at, because it committed it itself."""

from perdure.store.sqlite.watcher import LocalCommits


class TestLocalCommits:
    def test_neighbours_are_one_range_and_gaps_stop_the_skipping(self) -> None:
        local = LocalCommits()
        local.add(3, 4)
        local.add(5, 9)
        local.add(12, 12)
        assert local.skip_from(0) == 0, "1 and 2 are not known"
        assert local.skip_from(2) == 9
        assert local.skip_from(9) == 9, "10 and 11 are not known"
        assert local.skip_from(11) == 12
        assert local.skip_from(12) == 12

    def test_what_was_looked_at_meanwhile_is_not_gone_back_to(self) -> None:
        local = LocalCommits()
        local.add(3, 4)
        assert local.skip_from(7) == 7

    def test_old_ranges_are_forgotten_rather_than_kept_for_ever(self) -> None:
        local = LocalCommits()
        for first in range(1, 100_000, 2):
            local.add(first, first)
        assert local.skip_from(0) == 0
        assert local.skip_from(99_998) == 99_999
