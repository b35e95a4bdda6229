#include "eval/plot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "absl/status/status.h"
#include "eval/parallel.h"
#include "eval/results_table.h"

namespace reenact {
namespace {

// Pixels of exactly this colour.
int Count(const Image& image, uint8_t red, uint8_t green, uint8_t blue) {
  int count = 0;
  for (size_t i = 0; i < image.rgb.size(); i += 3) {
    count += image.rgb[i] == red && image.rgb[i + 1] == green && image.rgb[i + 2] == blue ? 1 : 0;
  }
  return count;
}

TEST(TidyTicksTest, CoverTheRangeAtTidyNumbers) {
  EXPECT_EQ(TidyTicks(0, 10, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(TidyTicks(16, 64, 8), (std::vector<double>{10, 20, 30, 40, 50, 60, 70}));
  const std::vector<double> small = TidyTicks(0.013, 0.041, 6);
  EXPECT_NEAR(small.front(), 0.01, 1e-12);
  EXPECT_NEAR(small.back(), 0.045, 1e-12);
}

TEST(PlotTest, DrawsEverySeriesInItsColour) {
  Plot plot;
  plot.title = "title";
  plot.series = {{"rising", {{0, 0}, {10, 1}}}, {"falling", {{0, 1}, {10, 0}}}};

  const auto image = DrawPlot(plot, 600);

  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->width, 600);
  EXPECT_EQ(image->height, 400);
  EXPECT_GT(Count(*image, 0, 114, 178), 300);
  EXPECT_GT(Count(*image, 213, 94, 0), 300);
  EXPECT_GT(Count(*image, 255, 255, 255), 600 * 400 / 2);
}

TEST(PlotTest, ABarShowsTheErrorOfEachPoint) {
  Plot plot;
  plot.y_from = 0;
  plot.y_to = 10;
  plot.series = {{"", {{0, 5}, {5, 5}, {10, 5}}, {0, 4, std::nan("")}}};
  const auto with = DrawPlot(plot, 600);
  ASSERT_TRUE(with.ok()) << with.status();
  plot.series[0].errors.clear();
  const auto without = DrawPlot(plot, 600);

  // Eight tenths of the axis high, and only there.
  int rows = 0, left = 600, right = 0;
  for (int y = 0; y < with->height; ++y) {
    bool differs = false;
    for (int x = 0; x < with->width; ++x) {
      const bool same =
          std::equal(with->row(y) + 3 * x, with->row(y) + 3 * x + 3, without->row(y) + 3 * x);
      if (same) continue;
      differs = true;
      left = std::min(left, x);
      right = std::max(right, x);
    }
    rows += differs ? 1 : 0;
  }
  EXPECT_NEAR(rows, 0.8 * (400 - 600.0 / 960 * (92 + 80)), 12);
  EXPECT_LT(right - left, 12);
}

TEST(PlotTest, ErrorsMustBeAsManyAsPoints) {
  Plot plot;
  plot.series = {{"anchored", {{0, 5}, {5, 5}}, {1}}};

  const absl::Status status = DrawPlot(plot).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(status.message(), "1 errors came for 2 points of anchored");
}

TEST(PlotTest, ALineIsWhereItsNumbersAre) {
  // A horizontal line at the top of its axis and one at the bottom.
  Plot plot;
  plot.series = {{"", {{0, 1}, {10, 1}}}, {"", {{0, 0}, {10, 0}}}};
  const auto image = DrawPlot(plot, 600);
  ASSERT_TRUE(image.ok()) << image.status();

  const auto rows = [&](uint8_t red, uint8_t green, uint8_t blue) {
    double sum = 0, count = 0;
    // Left of the legend.
    for (int y = 0; y < image->height; ++y) {
      for (int x = 200; x < 400; ++x) {
        const uint8_t* pixel = image->row(y) + 3 * x;
        if (pixel[0] == red && pixel[1] == green && pixel[2] == blue) sum += y, ++count;
      }
    }
    return sum / count;
  };
  EXPECT_LT(rows(0, 114, 178) + 150, rows(213, 94, 0));
}

TEST(PlotTest, LeavesGapsWhereNothingWasMeasured) {
  Plot plot;
  plot.series = {
      {"", {{0, 1}, {1, std::nan("")}, {2, std::numeric_limits<double>::infinity()}, {3, 2}}}};

  EXPECT_TRUE(DrawPlot(plot).ok());
}

TEST(PlotTest, NothingToPlotIsAnError) {
  Plot plot;
  plot.series = {{"nothing", {{0, std::nan("")}}}};

  EXPECT_TRUE(absl::IsInvalidArgument(DrawPlot(plot).status()));
  plot.series = {{"a point", {{3, 5}}}};
  EXPECT_TRUE(DrawPlot(plot).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(DrawPlot(plot, 10).status()));
}

TEST(ResultsTableTest, WritesMarkdownInColumns) {
  const ResultsTable table = {{"metric", "a"}, {{"PSNR, dB", "21.50"}, {"x", "-"}}};

  EXPECT_EQ(ToMarkdown(table),
            "| metric   |     a |\n"
            "| -------- | ----: |\n"
            "| PSNR, dB | 21.50 |\n"
            "| x        |     - |\n");
}

TEST(ResultsTableTest, QuotesWhatCsvMust) {
  EXPECT_EQ(ToCsv({{"a", "b"}, {{"1,5", "say \"x\""}}}), "a,b\n\"1,5\",\"say \"\"x\"\"\"\n");
}

TEST(ResultsTableTest, NoValueIsADash) {
  EXPECT_EQ(FormatValue(std::nullopt, 2), "-");
  EXPECT_EQ(FormatValue(1.006, 2), "1.01");
}

TEST(ParallelForTest, CallsTheBodyOnceForEveryNumber) {
  std::vector<int> calls(100, 0);
  const absl::Status status = ParallelFor(4, 100, [&](int, int i) {
    ++calls[static_cast<size_t>(i)];
    return absl::OkStatus();
  });

  EXPECT_TRUE(status.ok());
  EXPECT_EQ(calls, std::vector<int>(100, 1));
  EXPECT_TRUE(ParallelFor(2, 0, [](int, int) { return absl::InternalError("called"); }).ok());
}

TEST(ParallelForTest, ReturnsAnErrorAndStops) {
  int calls = 0;
  const absl::Status status = ParallelFor(1, 100, [&](int, int i) {
    ++calls;
    return i == 3 ? absl::NotFoundError("three") : absl::OkStatus();
  });

  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_EQ(calls, 4);
}

}  // namespace
}  // namespace reenact
