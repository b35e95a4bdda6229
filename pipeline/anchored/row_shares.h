// Several clips stepped as one job: how many rows they can take together, and how many of them each
// gets. Pure functions.
//
// A clip takes part in a step with none of its rows or with a number its own demand allows, so that
// not every sum can be shared out. Clips are given in order of preference.
#pragma once

#include <vector>

#include "absl/types/span.h"
#include "pipeline/engine.h"

namespace reenact {

// Every number of rows from its minimum to its maximum can be shared out. The first clip that wants
// any can always take part; a further one does if it leaves no gap between the numbers.
RowDemand SumOfDemands(absl::Span<const RowDemand> demands);

// One number per clip; together `num_rows`, which is within SumOfDemands(). As many clips as
// possible take part, and the rows are spread evenly.
std::vector<int> ShareRows(absl::Span<const RowDemand> demands, int num_rows);

}  // namespace reenact
