#include "eval/plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"

namespace reenact {
namespace {

constexpr int kMinWidth = 300, kMaxWidth = 4000;
constexpr int kFont = cv::FONT_HERSHEY_SIMPLEX;

// Apart from each other in lightness too (Okabe and Ito's palette).
const std::array<cv::Scalar, 6>& Colours() {
  static const std::array<cv::Scalar, 6> colours = {
      cv::Scalar(0, 114, 178),   cv::Scalar(213, 94, 0),  cv::Scalar(0, 158, 115),
      cv::Scalar(204, 121, 167), cv::Scalar(120, 94, 40), cv::Scalar(86, 180, 233)};
  return colours;
}

struct Range {
  double from = std::numeric_limits<double>::infinity();
  double to = -std::numeric_limits<double>::infinity();

  void Include(double value) {
    from = std::min(from, value);
    to = std::max(to, value);
  }
  // One that is not empty.
  Range Opened() const {
    if (from < to) return *this;
    const double pad = from == 0 ? 1 : std::abs(from) * 0.1;
    return {from - pad, to + pad};
  }
};

// 0 if it is not known.
double ErrorOf(const PlotSeries& series, size_t i) {
  if (series.errors.empty() || !std::isfinite(series.errors[i])) return 0;
  return std::abs(series.errors[i]);
}

std::string Label(double value, double step) {
  if (std::abs(value) < step * 1e-6) return "0";
  const int digits = std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 8);
  return absl::StrFormat("%.*f", digits, value);
}

// Where things are, in pixels.
class Canvas {
 public:
  Canvas(int width, const std::vector<double>& x_ticks, const std::vector<double>& y_ticks)
      : width_(width),
        height_(width * 2 / 3),
        unit_(width / 960.0),
        x_ticks_(x_ticks),
        y_ticks_(y_ticks),
        left_(Scaled(90)),
        right_(width_ - Scaled(30)),
        top_(Scaled(92)),
        bottom_(height_ - Scaled(80)),
        mat_(height_, width_, CV_8UC3, cv::Scalar(255, 255, 255)) {}

  void DrawAxes(const Plot& plot) {
    const cv::Scalar grid(225, 225, 225), ink(40, 40, 40);
    for (const double x : x_ticks_) {
      const int at = Place(x, 0).x;
      cv::line(mat_, {at, top_}, {at, bottom_}, grid, Thick(1), cv::LINE_AA);
      Write(Label(x, Step(x_ticks_)), at, bottom_ + Scaled(26), 0.5, 0.5, ink);
    }
    for (const double y : y_ticks_) {
      const int at = Place(0, y).y;
      cv::line(mat_, {left_, at}, {right_, at}, grid, Thick(1), cv::LINE_AA);
      Write(Label(y, Step(y_ticks_)), left_ - Scaled(10), at + Scaled(6), 1, 0.5, ink);
    }
    cv::rectangle(mat_, {left_, top_}, {right_, bottom_}, ink, Thick(1.5));
    Write(plot.title, width_ / 2, Scaled(34), 0.5, 0.75, ink);
    Write(plot.x_label, (left_ + right_) / 2, height_ - Scaled(22), 0.5, 0.6, ink);
    // Beside the axis it would have to be turned; above it, it is read at once.
    Write(plot.y_label, Scaled(16), top_ - Scaled(20), 0, 0.6, ink);
  }

  void DrawSeries(const PlotSeries& series, const cv::Scalar& colour) {
    std::optional<cv::Point> before;
    for (const auto& [x, y] : series.points) {
      if (!std::isfinite(x) || !std::isfinite(y)) {
        before.reset();
        continue;
      }
      const cv::Point at = Place(x, y);
      if (before.has_value()) cv::line(mat_, *before, at, colour, Thick(2.5), cv::LINE_AA);
      before = at;
    }
    for (size_t i = 0; i < series.points.size(); ++i) {
      const auto& [x, y] = series.points[i];
      if (!std::isfinite(x) || !std::isfinite(y)) continue;
      if (const double error = ErrorOf(series, i); error > 0) DrawBar(x, y, error, colour);
      cv::circle(mat_, Place(x, y), Scaled(5), colour, cv::FILLED, cv::LINE_AA);
    }
  }

  // On the lines of the y label, at the right, where no point can be.
  void DrawLegend(const std::vector<PlotSeries>& all) {
    int at = right_;
    for (size_t i = all.size(); i-- > 0;) {
      const cv::Scalar& colour = Colours()[i % Colours().size()];
      const int text = TextWidth(all[i].name, 0.55);
      Write(all[i].name, at - text, top_ - Scaled(20), 0, 0.55, cv::Scalar(40, 40, 40));
      const int y = top_ - Scaled(26), to = at - text - Scaled(8);
      cv::line(mat_, {to - Scaled(26), y}, {to, y}, colour, Thick(2.5), cv::LINE_AA);
      cv::circle(mat_, {to - Scaled(13), y}, Scaled(5), colour, cv::FILLED, cv::LINE_AA);
      at = to - Scaled(26) - Scaled(18);
    }
  }

  Image ToImage() const {
    Image image{mat_.cols, mat_.rows, {}};
    image.rgb.assign(mat_.datastart, mat_.dataend);
    return image;
  }

 private:
  void DrawBar(double x, double y, double error, const cv::Scalar& colour) {
    const cv::Point top = Place(x, y + error), bottom = Place(x, y - error), side(Scaled(6), 0);
    cv::line(mat_, top, bottom, colour, Thick(1.5), cv::LINE_AA);
    for (const cv::Point& end : {top, bottom}) {
      cv::line(mat_, end - side, end + side, colour, Thick(1.5), cv::LINE_AA);
    }
  }

  static double Step(const std::vector<double>& ticks) { return ticks[1] - ticks[0]; }
  int Scaled(double pixels) const { return static_cast<int>(std::lround(pixels * unit_)); }
  int Thick(double pixels) const { return std::max(Scaled(pixels), 1); }

  cv::Point Place(double x, double y) const {
    const double u = (x - x_ticks_.front()) / (x_ticks_.back() - x_ticks_.front()),
                 v = (y - y_ticks_.front()) / (y_ticks_.back() - y_ticks_.front());
    return {static_cast<int>(std::lround(left_ + u * (right_ - left_))),
            static_cast<int>(std::lround(bottom_ - v * (bottom_ - top_)))};
  }

  int TextWidth(const std::string& text, double size) const {
    int baseline = 0;
    return cv::getTextSize(text, kFont, size * unit_, Thick(1), &baseline).width;
  }

  // `anchor` 0: from x on; 0.5: centred; 1: up to x. y is the base line.
  void Write(const std::string& text, int x, int y, double anchor, double size,
             const cv::Scalar& colour) {
    const int left = x - static_cast<int>(anchor * TextWidth(text, size));
    cv::putText(mat_, text, {left, y}, kFont, size * unit_, colour, Thick(1), cv::LINE_AA);
  }

  const int width_, height_;
  const double unit_;
  const std::vector<double> x_ticks_, y_ticks_;
  const int left_, right_, top_, bottom_;
  cv::Mat mat_;
};

}  // namespace

std::vector<double> TidyTicks(double from, double to, int count) {
  const double rough = (to - from) / std::max(count, 1);
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough * (1 - 1e-9)) {
      step = factor * power;
      break;
    }
  }
  const double first = std::floor(from / step + 1e-9), last = std::ceil(to / step - 1e-9);
  std::vector<double> ticks;
  for (double i = first; i <= last; ++i) ticks.push_back(i * step);
  if (ticks.size() < 2) ticks.push_back((last + 1) * step);
  return ticks;
}

absl::StatusOr<Image> DrawPlot(const Plot& plot, int width) {
  if (width < kMinWidth || width > kMaxWidth) {
    return absl::InvalidArgumentError(
        absl::StrFormat("width is %d, must be %d..%d", width, kMinWidth, kMaxWidth));
  }
  Range x, y;
  for (const PlotSeries& series : plot.series) {
    if (!series.errors.empty() && series.errors.size() != series.points.size()) {
      return absl::InvalidArgumentError(absl::StrFormat("%d errors came for %d points of %s",
                                                        series.errors.size(), series.points.size(),
                                                        series.name));
    }
    for (size_t i = 0; i < series.points.size(); ++i) {
      const auto& [px, py] = series.points[i];
      if (!std::isfinite(px) || !std::isfinite(py)) continue;
      x.Include(px);
      y.Include(py - ErrorOf(series, i));
      y.Include(py + ErrorOf(series, i));
    }
  }
  if (!(x.from <= x.to)) return absl::InvalidArgumentError("there is nothing to plot");
  if (plot.y_from.has_value()) y.Include(*plot.y_from);
  if (plot.y_to.has_value()) y.Include(*plot.y_to);
  x = x.Opened();
  y = y.Opened();

  Canvas canvas(width, TidyTicks(x.from, x.to, 8), TidyTicks(y.from, y.to, 6));
  canvas.DrawAxes(plot);
  for (size_t i = 0; i < plot.series.size(); ++i) {
    canvas.DrawSeries(plot.series[i], Colours()[i % Colours().size()]);
  }
  canvas.DrawLegend(plot.series);
  return canvas.ToImage();
}

}  // namespace reenact
