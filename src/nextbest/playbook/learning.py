"""The shape of learn.yaml: what is learned from the answers of customers, and who may be offered what."""

from typing import Annotated, Literal

from pydantic import Field

from nextbest.playbook.entry import Condition, Expression, Name, Strict, Texts
from nextbest.playbook.sources import Source


class PairFeature(Strict):
    """One value per customer and product. A number, or a word where `kind` is word."""

    value: Expression = Field(description="over the customer's columns and features, and the product's columns")
    kind: Literal["number", "word"] = "number"
    unit: str
    meaning: Texts


class Said(Strict):
    """A wording and when it is true."""

    when: Expression | None = None
    text: Texts


class Reason(Strict):
    """What is said of the features that spoke most for an offer, or against it. Their contributions are added up."""

    of: list[Name] = Field(
        description="customer columns, features and pair features; `history` is what was answered before, "
        "`similar` what similar customers have"
    )
    speaks_for: Annotated[list[Said], Field(min_length=1, description="the first that is true")]
    against: Texts


class Gate(Strict):
    """What a new model must show on answers that it did not see before it takes over. All are over parameters only."""

    worse_at_most: Expression = Field(description="NDCG@k: the lower bound of its gain may lie so far below 0")
    worse_in_segment: Expression = Field(description="the same within each segment of `fairness`, by its mean")
    miscalibrated_at_most: Expression = Field(description="largest mean difference of probability and answers, in all and by segment")
    smallest_segment: Expression = Field(description="customers; smaller segments are not judged")


class Fills(Strict):
    """Where `decide --model` writes what a model of offers says, so that rules can name it."""

    by: Name = Field(description="the products' column of kinds")
    columns: Annotated[dict[str, Name], Field(min_length=1)] = Field(
        description="kind → customer column: the highest probability among the products of that kind that may be offered, 0 where none "
        "may. What a file brings in the column goes before it"
    )
    errors: dict[str, Name] = Field(
        {}, description="kind → customer column: the standard error of that probability, where the model knows it"
    )

    @property
    def names(self) -> tuple[str, ...]:
        """All columns that are filled."""
        return (*self.columns.values(), *self.errors.values())


class OfferLearning(Strict):
    """Who takes which product. The tables share the customers' code and the products' code by the same column names."""

    products: Source = Field(description="one row per product; its id column is the product's code")
    held: Source = Field(description="one row per customer and product held")
    answers: Source = Field(description="one row per offer that was made, and what came of it")
    round: Name = Field(description="the answers' column that orders them: the number of a campaign, a month")
    taken: Name = Field(description="the answers' column that says whether the offer was taken (a flag)")
    sent: Name | None = Field(
        None,
        description="the answers' column with the date of the offer. A round is then learned from with the features of the day before its "
        "first offer, not with those of the as-of day",
    )
    uses: list[Name] = Field(description="customer columns and features that models may use; never a code")
    pairs: dict[Name, PairFeature] = {}
    eligible: dict[Name, Condition] = Field({}, description="beside: nothing that is held is offered")
    heuristic: Expression = Field(0, description="a score without learning, over pair features too: a baseline")
    reasons: dict[Name, Reason] = {}
    fairness: list[Name] = Field([], description="customer columns by which the gate looks at segments; numbers by thirds")
    gate: Gate
    model: Name = Field("logistic", description="a kind of model, or one of another package: `nextbest evaluate` tries them all")
    top: Annotated[int, Field(ge=1, description="recommendations per customer")] = 5
    fills: Fills | None = None

    @property
    def tables(self) -> dict[str, Source]:
        """The tables beside the playbook's sources, by name."""
        return {"products": self.products, "held": self.held, "answers": self.answers}


class RiskReason(Strict):
    """What is said of the features that raised a customer's risk most, or lowered it. The largest one's value is added."""

    of: list[Name]
    raises: Texts
    lowers: Texts


class ActivityLearning(Strict):
    """Whose activity will fall."""

    label: Name | None = Field(None, description="the customer column that says what became of it; never a feature")
    falls: str | None = Field(None, description="the label's value that means a fall; any other known value means none")
    falls_when: Expression | None = Field(
        None,
        description="instead of a label, over customer columns and features: whether activity fell by the as-of day. The model then "
        "learns from the features of `months_before`",
    )
    months_before: Annotated[int, Field(ge=1, le=12)] = Field(
        1,
        description="with `falls_when`. Rows are cut off at the earlier day; columns of the customers' table stand as they were handed in, "
        "so that `uses` should name none that a fall changes",
    )
    uses: list[Name] = Field(description="customer columns and features that the model may use; never a code")
    offer_cost: Expression = Field(description="what it costs to try to keep a customer, over parameters only")
    margin_saved: Expression = Field(description="what a customer who is kept earns, over parameters only")
    reasons: dict[Name, RiskReason] = {}
    fills: Name | None = Field(
        None, description="customer column that `decide --model` fills with the probability; what a file brings in it goes before"
    )


class PurchaseFills(Strict):
    """Customer columns that `decide --model` fills where they are blank."""

    alive: Name = Field(description="the probability that the customer has not left")
    purchases: Name = Field(description="expected purchases in the days ahead")
    value: Name = Field(description="expected spending in the days ahead, in the playbook's currency")


class PurchaseLearning(Strict):
    """How often customers will buy again, who leave without saying so. Each entry but `of` and `ahead` names a feature."""

    of: Name = Field(description="the activity table of purchases")
    repeats: Name = Field(description="purchases after the first")
    last: Name = Field(description="days from the first purchase to the last")
    age: Name = Field(description="days since the first purchase")
    average: Name = Field(description="money a purchase")
    ahead: Expression = Field(description="days that are forecast, over parameters only")
    fills: PurchaseFills

    @property
    def names(self) -> tuple[str, str, str, str]:
        """The features, in the order repeats, last, age, average."""
        return self.repeats, self.last, self.age, self.average


class UpliftLearning(Strict):
    """What an offer changes, learned from an experiment in which chance said who got it."""

    treatment: Name = Field(description="the customer column of what was tried on whom; its known values are the arms")
    control: str = Field(description="the value that means nothing was tried")
    outcome: Name = Field(description="the customer column of what came of it: a flag, or a number")
    uses: list[Name] = Field(description="customer columns and features that the model may use, known before the experiment; never a code")
    learner: Literal["s", "t", "x", "dr"] = Field("dr", description="chosen beforehand: the figures of all are shown")
    fills: Annotated[dict[str, Name], Field(min_length=1)] = Field(
        description="treatment → customer column that `decide --model` fills with the effect on the outcome"
    )


class Learn(Strict):
    """learn.yaml"""

    offers: OfferLearning | None = None
    activity: ActivityLearning | None = None
    purchases: PurchaseLearning | None = None
    uplift: UpliftLearning | None = None
