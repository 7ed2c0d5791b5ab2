"""What the stand-in says."""

from __future__ import annotations

from typing import Final

OPENINGS: Final = (
    "You wrote “{asked}”. Let me take that as an invitation.",
    "“{asked}” deserves a better mind than mine, but here is what my drawer holds.",
    "On “{asked}”, a few things come to hand.",
    "Since you ask about “{asked}”, I will begin somewhere near it and see where the words lead.",
)

REASONING: Final = (
    "The question can be read in two ways. The literal reading is short, so I will answer that first and then say "
    "what changes when one looks more closely.",
    "Let me order this: what is known, what follows from it, and where I would be guessing. Only the first two belong "
    "in the answer.",
    "A good answer names the mechanism, not only the outcome. I will look for the smallest example that shows it.",
)

PASSAGES: Final[dict[frozenset[str], str]] = {
    frozenset({"stream", "streams", "durable", "log", "perdure", "store"}): (
        "### What a durable stream is\n\n"
        "A durable stream is a list that only grows at one end, and never forgets what it has acknowledged. Writers "
        "append; each record gets the next number; readers start wherever they like and catch up at their own pace. "
        "Because the numbers have no gaps, *where was I?* has an exact answer, and a reader that comes back after a "
        "crash needs nothing but one integer to go on."
    ),
    frozenset({"refresh", "reload", "tab", "tabs", "resume", "stop"}): (
        "### Why a refresh does no harm\n\n"
        "The words you are reading were written to a log before they were sent to you. Reload this page now and the "
        "browser asks for the running answer again: it is replayed from its first word, then continues live, as if "
        "nothing had happened. A second tab does the same. The only thing that ends an answer early is somebody "
        "pressing **Stop**, in any tab."
    ),
    frozenset({"sea", "ocean", "tide", "tides", "water", "moon"}): (
        "### Tides\n\n"
        "Twice a day the sea breathes. The moon pulls the near side of the ocean a little more than the earth beneath "
        "it, and the far side a little less, so two bulges stand while the planet turns under them. In the Bay of "
        "Fundy the funnel of the coast swings in time with that pull, like a child pushed on a swing, and the water "
        "climbs the height of a five-storey house and goes away again, leaving boats upright in the mud."
    ),
    frozenset({"light", "lighthouse", "lens", "sailor", "ship"}): (
        "### Lighthouses\n\n"
        "Augustin Fresnel cut a lens into rings and threw away the glass between them. What was left was thin enough "
        "to carry and strong enough to gather a small flame into a beam that reached the horizon. Each tower was given "
        "its own rhythm of flashes, so that a sailor who counted seconds knew not only that there was land, but which."
    ),
    frozenset({"bread", "bake", "baking", "food", "recipe", "cook"}): (
        "### Bread\n\n"
        "Four things are enough, and time does most of the work:\n\n"
        "1. Mix 500 g of flour, 350 g of water, 10 g of salt and a pinch of yeast.\n"
        "2. Wait until tomorrow. The gluten arranges itself while nobody looks.\n"
        "3. Fold the dough like a letter, shape it, and let it rise once more.\n"
        "4. Bake it in a closed pot, as hot as the oven goes, and open the lid for the last quarter of an hour."
    ),
    frozenset({"clock", "clocks", "time", "longitude", "watch"}): (
        "### Longitude\n\n"
        "For centuries ships knew how far north they were and only guessed how far west. The answer was a clock that "
        "kept the time of home: compare it with the sun overhead, and every hour of difference is fifteen degrees. "
        "John Harrison, a carpenter, spent his life on five of them. The fourth lost five seconds on the way to "
        "Jamaica."
    ),
    frozenset({"bird", "birds", "swift", "animal", "animals", "nature"}): (
        "### Swifts\n\n"
        "A common swift may stay in the air for ten months without landing once. It eats there, drinks the rain, "
        "sleeps in slow circles two kilometres up, half of its brain at a time, and comes down only to raise its "
        "young. Then it leaves again, and the young, which have never flown, drop out of the nest and are gone for "
        "years."
    ),
    frozenset({"map", "maps", "world", "travel", "city", "cities"}): (
        "### Maps\n\n"
        "Every map is a decision about what to leave out. Harry Beck, who drew circuits for a living, noticed that "
        "people under the ground do not care where they are, only what comes next; he straightened the lines, evened "
        "the distances and turned a city into a diagram. It was refused as too radical. Then everybody wanted one."
    ),
    frozenset({"paper", "book", "books", "write", "writing", "library"}): (
        "### Libraries\n\n"
        "Clay keeps better than paper. When the palace at Nineveh burned, the fire that should have destroyed its "
        "library baked it instead, and thirty thousand tablets waited two and a half thousand years to be read aloud "
        "again: omens, recipes, a flood, and letters from people who were owed money."
    ),
}

CODE: Final = """Here is the whole idea as a program:

```python
from perdure import S2, AppendRecord, SeqNum

async with S2.open("./data") as s2:
    basin = await s2.basins.ensure("my-first-basin", create_stream_on_append=True)
    stream = basin.stream("greetings")
    ack = await stream.append([AppendRecord("Hello")])   # on disk when this returns
    async with stream.read_session(SeqNum(0)) as records:
        async for record in records:                     # history first, then live
            print(record.seq_num, record.text)
```

Stop the process between any two lines and start it again: nothing that was acknowledged is missing."""

POEM: Final = """> The page went dark, the socket closed,
> the reader left mid-line;
> the words went on, as words will do,
> in order, one by one.
>
> And when the window lit again
> it asked for nothing more
> than where it was, and there it was:
> the sentence, and the shore."""

TABLE: Final = """| what happens | without a log | with one |
| --- | --- | --- |
| you reload the page | the answer is gone | it goes on where it was |
| a second tab is open | it sees nothing | it follows word by word |
| the server is killed | half a sentence, for ever | an honest error, and the part that was written |
| somebody presses stop | the model runs on, unpaid attention | it ends, everywhere |"""

CLOSINGS: Final = (
    "That is all my drawer holds on it. Try reloading while I write, or open this chat in a second tab.",
    "Ask me for *code*, a *poem*, a *table*, or something *long*; ask me to *think*, or to *fail*.",
    "If you stopped the server now and started it again, you would find this here.",
)
