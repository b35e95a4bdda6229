// Line plots as pictures. Pure functions, thread-safe.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/image.h"

namespace reenact {

struct PlotSeries {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x, y; joined in this order
  std::vector<double> errors{};                   // of y, up and down, of every point; empty: none
};

// Texts are ASCII.
struct Plot {
  std::string title, x_label, y_label;
  std::vector<PlotSeries> series;
  // Where the y axis ends; none: wide enough for the points, at tidy numbers.
  std::optional<double> y_from, y_to;
};

// Two thirds as high as wide. Axes with ticks at tidy numbers, a grid, a legend, a marker and a bar
// of its error at every point. kInvalidArgument: no finite point at all; another number of errors
// than of points; `width` is not 300..4000.
absl::StatusOr<Image> DrawPlot(const Plot& plot, int width = 960);

// Multiples of 1, 2 or 5 times a power of ten that cover from..to with about `count` steps; the
// first is at or below `from`, the last at or above `to`. from < to.
std::vector<double> TidyTicks(double from, double to, int count);

}  // namespace reenact
