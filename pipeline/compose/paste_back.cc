#include "pipeline/compose/paste_back.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "pipeline/face/canonical_mesh.h"

namespace reenact {
namespace {

// Cells across the matte, and across the pictures that coarse differences and colours are taken
// from.
constexpr int kMatteCells = 128;
constexpr int kCoarseCells = 64;
constexpr double kCoarseBlur = 1.2;  // cells
// Levels. A larger coarse difference is a thing that moved, not a tint, and must not glow.
constexpr float kMaxCoarse = 40;
// Where the two still differ by more than the first number, though outside the face's own area, the
// matte grows: hair and shoulders that moved. All of it from the second on; up to the first
// distance from the area's edge (in border widths) freely, from the second on not at all.
constexpr float kDiffers = 12, kDiffersMuch = 32;
constexpr float kGrowFreely = 2, kGrowAtMost = 3;
// What of the growth is left a frame later where nothing differs any more.
constexpr float kGrowthKept = 0.85f;
// How deep inside the matte grown places are: enough that their own edges lie where nothing
// differs.
constexpr float kGrownDepth = 1.4f;
// Where in the border fine detail changes over.
constexpr float kDetailFrom = 0.33f, kDetailTo = 0.67f;
// The part of the difference that changes slowly over the picture, measured around the face and
// carried on into it: blurred by so many cells, and no larger than this, in levels.
constexpr double kFieldBlur = 2;
constexpr float kMaxField = 24;
// Below this scale a picture is first averaged down.
constexpr double kShrink = 0.75;
// A box this near (pixels) to whole ones is on them.
constexpr double kOnPixels = 1e-6;
// Mesh points whose colour is not the skin's, or is seldom seen: around eyes and lips. Everything
// nearer to these than the given share of the face's height is left out.
constexpr std::array<int, 4> kNotSkin = {468, 473, 13, 14};
constexpr float kNotSkinRadius = 0.11f;
// Weight of all skin points to that of the whole border. Little, as light falls differently on a
// head that turned, but skin has colours that a plain background lacks.
constexpr float kSkinShare = 0.1f;

absl::Status CheckRange(absl::string_view field, double value, double min, double max) {
  if (value >= min && value <= max) return absl::OkStatus();  // NaN fails
  return absl::InvalidArgumentError(
      absl::StrCat(field, " must be ", min, "..", max, ", is ", value));
}

bool Consistent(const Image& image) {
  return image.width > 0 && image.height > 0 &&
         image.rgb.size() == static_cast<size_t>(image.width) * image.height * 3;
}

cv::Mat View(const Image& image) {
  // OpenCV has no const view; the source is only read.
  return {image.height, image.width, CV_8UC3, const_cast<uint8_t*>(image.rgb.data())};
}

// What the box covers of the picture, in whole pixels.
struct PixelRect {
  int left = 0, top = 0, right = 0, bottom = 0;
  int width() const { return right - left; }
  int height() const { return bottom - top; }
};

// Only pixels whose centres the box covers.
PixelRect Covered(const CropBox& box, int width, int height) {
  const auto first = [](double edge, int limit) {
    return static_cast<int>(std::clamp(std::ceil(edge - 0.5 - kOnPixels), 0.0, double{1} * limit));
  };
  const auto end = [](double edge, int limit) {
    return static_cast<int>(
        std::clamp(std::floor(edge - 0.5 + kOnPixels) + 1, 0.0, double{1} * limit));
  };
  return {first(box.center_x - box.side / 2, width), first(box.center_y - box.side / 2, height),
          end(box.center_x + box.side / 2, width), end(box.center_y + box.side / 2, height)};
}

// One axis of a grid of `cells` cells spread over `pixels` pixels, for linear interpolation between
// the cells' centres; beyond the outermost ones their values hold.
struct AxisStep {
  int cell = 0;
  float share = 0;  // of the next cell
};
std::vector<AxisStep> Spread(int pixels, int cells) {
  std::vector<AxisStep> steps(static_cast<size_t>(pixels));
  for (int i = 0; i < pixels; ++i) {
    const double at = std::clamp((i + 0.5) * cells / pixels - 0.5, 0.0, cells - 1.0);
    const int cell = std::min(static_cast<int>(at), cells - 2);
    steps[i] = {cell, static_cast<float>(at - cell)};
  }
  return steps;
}

// `image` resampled on a grid of `width` x `height` samples by cubic convolution (Keys 1981, a =
// -1/2); the sample (i, j) lies at (start_x + step * i, start_y + step * j) in pixels of `image`,
// border pixels repeated. Written for pictures that hardly shrink: step up to 1.5.
class CubicTaps {
 public:
  CubicTaps(double start, double step, int count, int length) {
    taps_.resize(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) {
      const double at = start + step * i;
      const double whole = std::floor(at);
      const auto f = static_cast<float>(at - whole);
      const std::array<float, 4> weights = {
          ((-0.5f * f + 1) * f - 0.5f) * f, (1.5f * f - 2.5f) * f * f + 1,
          ((-1.5f * f + 2) * f + 0.5f) * f, (0.5f * f - 0.5f) * f * f};
      taps_[i].weights = weights;
      for (int k = 0; k < 4; ++k) {
        taps_[i].at[k] = static_cast<int>(std::clamp(whole - 1 + k, 0.0, length - 1.0));
      }
    }
  }

  struct Tap {
    std::array<float, 4> weights;
    std::array<int, 4> at;
  };
  const Tap& operator[](int i) const { return taps_[i]; }

 private:
  std::vector<Tap> taps_;
};

void ResampleCubic(const cv::Mat& image, double start_x, double start_y, double step, cv::Mat& to) {
  const CubicTaps columns(start_x, step, to.cols, image.cols);
  const CubicTaps rows(start_y, step, to.rows, image.rows);
  const int length = 3 * image.cols;
  // One more, as four floats are read where three count.
  std::vector<float> line(static_cast<size_t>(length) + 1);
  for (int y = 0; y < to.rows; ++y) {
    const CubicTaps::Tap& row = rows[y];
    const auto* a = image.ptr<uint8_t>(row.at[0]);
    const auto* b = image.ptr<uint8_t>(row.at[1]);
    const auto* c = image.ptr<uint8_t>(row.at[2]);
    const auto* d = image.ptr<uint8_t>(row.at[3]);
    for (int i = 0; i < length; ++i) {
      line[i] =
          row.weights[0] * static_cast<float>(a[i]) + row.weights[1] * static_cast<float>(b[i]) +
          row.weights[2] * static_cast<float>(c[i]) + row.weights[3] * static_cast<float>(d[i]);
    }
    auto* out = to.ptr<uint8_t>(y);
    for (int x = 0; x < to.cols; ++x) {
      const CubicTaps::Tap& column = columns[x];
      std::array<float, 4> sum = {0.5f, 0.5f, 0.5f, 0.5f};
      for (int k = 0; k < 4; ++k) {
        const float* from = &line[static_cast<size_t>(column.at[k]) * 3];
        for (int i = 0; i < 4; ++i) sum[i] += column.weights[k] * from[i];
      }
      for (int i = 0; i < 3; ++i) {
        out[3 * x + i] = static_cast<uint8_t>(std::clamp(sum[i], 0.0f, 255.0f));
      }
    }
  }
}

// A picture's colour at a place in units of it, bilinear.
std::array<float, 3> ColourAt(const cv::Mat& image, double x, double y) {
  const double fx = std::clamp(x * image.cols - 0.5, 0.0, image.cols - 1.0);
  const double fy = std::clamp(y * image.rows - 0.5, 0.0, image.rows - 1.0);
  const int x0 = std::min(static_cast<int>(fx), image.cols - 2);
  const int y0 = std::min(static_cast<int>(fy), image.rows - 2);
  const auto wx = static_cast<float>(fx - x0), wy = static_cast<float>(fy - y0);
  std::array<float, 3> colour;
  for (int c = 0; c < 3; ++c) {
    const auto at = [&](int row, int column) {
      return image.ptr<float>(y0 + row)[3 * (x0 + column) + c];
    };
    const float upper = at(0, 0) + wx * (at(0, 1) - at(0, 0));
    const float lower = at(1, 0) + wx * (at(1, 1) - at(1, 0));
    colour[c] = upper + wy * (lower - upper);
  }
  return colour;
}

// Which mesh points show skin well inside the face: on the canonical mesh, away from eyes and mouth
// and from the outline, where a small error of place means another thing.
const std::vector<int>& SkinPoints() {
  static const std::vector<int>* const points = [] {
    auto* chosen = new std::vector<int>;
    constexpr int kSurface = 468;
    float low = 1e9f, high = -1e9f;
    for (int i = 0; i < kSurface; ++i) {
      low = std::min(low, kCanonicalVertices[i][1]);
      high = std::max(high, kCanonicalVertices[i][1]);
    }
    const float radius = kNotSkinRadius * (high - low);
    for (int i = 0; i < kSurface; ++i) {
      const auto& p = kCanonicalVertices[i];
      bool skin = true;
      for (const int other : kNotSkin) {
        const auto& q = kCanonicalVertices[other];
        // Lips are wide.
        const float dx = (p[0] - q[0]) / (other < 400 ? 1.8f : 1.3f);
        skin = skin && std::hypot(dx, p[1] - q[1]) > radius;
      }
      // Halfway back is where the cheeks turn away.
      skin = skin && p[2] > 0;
      if (skin) chosen->push_back(i);
    }
    return chosen;
  }();
  return *points;
}

float MostOf(const float* difference) {
  return std::max({std::abs(difference[0]), std::abs(difference[1]), std::abs(difference[2])});
}

// Cells of the finest level in one of a level of `side` cells.
int CellsPer(int side) { return (kCoarseCells / side) * (kCoarseCells / side); }

// `generated` at the picture's pixels in `rect`: a view of it or of `to`. `shrunk` is room to work
// in.
cv::Mat AtPixels(const Image& generated, const CropBox& box, const PixelRect& rect,
                 std::vector<uint8_t>& shrunk, std::vector<uint8_t>& to) {
  const double left = box.center_x - box.side / 2, top = box.center_y - box.side / 2;
  double pixel = box.side / generated.width;  // picture pixels per generated one
  cv::Mat from = View(generated);
  if (std::abs(pixel - 1) * generated.width < kOnPixels &&
      std::abs(left - std::round(left)) < kOnPixels &&
      std::abs(top - std::round(top)) < kOnPixels) {
    return from(cv::Rect(rect.left - static_cast<int>(std::lround(left)),
                         rect.top - static_cast<int>(std::lround(top)), rect.width(),
                         rect.height()));
  }
  if (pixel < kShrink) {
    const int side = std::max(static_cast<int>(std::lround(box.side)), 2);
    shrunk.resize(static_cast<size_t>(side) * side * 3);
    cv::Mat smaller(side, side, CV_8UC3, shrunk.data());
    cv::resize(from, smaller, smaller.size(), 0, 0, cv::INTER_AREA);
    from = smaller;
    pixel = box.side / side;
  }
  to.resize(static_cast<size_t>(rect.width()) * rect.height() * 3);
  cv::Mat patch(rect.height(), rect.width(), CV_8UC3, to.data());
  // Centres to centres: a pixel i of the rectangle lies at its left + i + 1/2.
  ResampleCubic(from, (rect.left + 0.5 - left) / pixel - 0.5, (rect.top + 0.5 - top) / pixel - 0.5,
                1 / pixel, patch);
  return patch;
}

// The same of a square that is turned; what lies outside it repeats its border.
cv::Mat AtTurnedPixels(const Image& generated, const Placement& place, const PixelRect& rect,
                       std::vector<uint8_t>& shrunk, std::vector<uint8_t>& to) {
  cv::Mat from = View(generated);
  if (place.box.side < kShrink * from.cols) {
    const int side = std::max(static_cast<int>(std::lround(place.box.side)), 2);
    shrunk.resize(static_cast<size_t>(side) * side * 3);
    cv::Mat smaller(side, side, CV_8UC3, shrunk.data());
    cv::resize(from, smaller, smaller.size(), 0, 0, cv::INTER_AREA);
    from = smaller;
  }
  to.resize(static_cast<size_t>(rect.width()) * rect.height() * 3);
  cv::Mat patch(rect.height(), rect.width(), CV_8UC3, to.data());
  // From the picture's pixels to the square's, centres to centres.
  const double scale = from.cols / place.box.side;
  const double c = scale * std::cos(place.turn), s = scale * std::sin(place.turn);
  const double x = rect.left + 0.5 - place.box.center_x, y = rect.top + 0.5 - place.box.center_y;
  const double middle = from.cols / 2.0 - 0.5;
  const cv::Matx23d map(c, s, c * x + s * y + middle, -s, c, -s * x + c * y + middle);
  cv::warpAffine(from, patch, map, patch.size(), cv::INTER_CUBIC | cv::WARP_INVERSE_MAP,
                 cv::BORDER_REPLICATE);
  return patch;
}

// Landmarks in units of the square as those in units of the upright square of side 1 / inner about
// it.
Landmarks Turned(const Landmarks& landmarks, double turn, double inner) {
  const double c = inner * std::cos(turn), s = inner * std::sin(turn);
  Landmarks turned = landmarks;
  for (Point3& p : turned) {
    const double x = p.x - 0.5, y = p.y - 0.5;
    p.x = static_cast<float>(c * x - s * y + 0.5);
    p.y = static_cast<float>(s * x + c * y + 0.5);
    p.z = static_cast<float>(p.z * inner);
  }
  return turned;
}

// A side of the square fades unless all of it lies on or beyond one border of the picture.
FadingSides FadingOf(const Placement& place, int width, int height) {
  const double c = place.box.side / 2 * std::cos(place.turn);
  const double s = place.box.side / 2 * std::sin(place.turn);
  const auto corner = [&](double x, double y) {
    return cv::Point2d(place.box.center_x + c * x - s * y, place.box.center_y + s * x + c * y);
  };
  const auto fades = [&](const cv::Point2d& a, const cv::Point2d& b) {
    return std::max(a.x, b.x) > 0 && std::min(a.x, b.x) < width && std::max(a.y, b.y) > 0 &&
           std::min(a.y, b.y) < height;
  };
  const cv::Point2d top_left = corner(-1, -1), top_right = corner(1, -1);
  const cv::Point2d bottom_left = corner(-1, 1), bottom_right = corner(1, 1);
  return {fades(top_left, bottom_left), fades(top_left, top_right), fades(top_right, bottom_right),
          fades(bottom_left, bottom_right)};
}

// The picture made small, in levels.
cv::Mat Coarse(const cv::Mat& image) {
  cv::Mat small, levels;
  cv::resize(image, small, {kCoarseCells, kCoarseCells}, 0, 0, cv::INTER_AREA);
  small.convertTo(levels, CV_32FC3);
  return levels;
}

// The sample of the matte that stands for a coarse cell.
float MatteAt(const std::vector<float>& matte, int x, int y) {
  constexpr int kPerCell = kMatteCells / kCoarseCells;
  return matte[static_cast<size_t>(y * kPerCell) * kMatteCells + x * kPerCell];
}

// What should look alike: the border, place by place.
void AddBorderPairs(const cv::Mat& patch, const cv::Mat& original, const std::vector<float>& matte,
                    std::vector<ColourPair>& pairs) {
  for (int y = 0; y < kCoarseCells; ++y) {
    for (int x = 0; x < kCoarseCells; ++x) {
      const float t = MatteAt(matte, x, y);
      if (!(t > 0 && t < 1)) continue;
      ColourPair pair;
      for (int c = 0; c < 3; ++c) {
        pair.generated[c] = patch.ptr<float>(y)[3 * x + c];
        pair.original[c] = original.ptr<float>(y)[3 * x + c];
      }
      pairs.push_back(pair);
    }
  }
}

// And the skin, point by point of the mesh. `pairs` holds those of the border.
void AddSkinPairs(const cv::Mat& patch, const Landmarks& generated_face, const cv::Mat& original,
                  const Landmarks& original_face, const MatteWindow& window,
                  std::vector<ColourPair>& pairs) {
  struct Place {
    double x, y;
    bool inside() const { return x >= 0 && x <= 1 && y >= 0 && y <= 1; }
  };
  const auto place = [&window](const Point3& p) {
    return Place{(p.x - window.left) / (window.right - window.left),
                 (p.y - window.top) / (window.bottom - window.top)};
  };
  const size_t num_border = pairs.size();
  for (const int point : SkinPoints()) {
    const Place in_patch = place(generated_face[point]);
    const Place in_original = place(original_face[point]);
    if (!in_patch.inside() || !in_original.inside()) continue;
    pairs.push_back({ColourAt(patch, in_patch.x, in_patch.y),
                     ColourAt(original, in_original.x, in_original.y), 1});
  }
  const size_t num_skin = pairs.size() - num_border;
  if (num_border == 0 || num_skin == 0) return;
  const float weight = kSkinShare * static_cast<float>(num_border) / static_cast<float>(num_skin);
  for (size_t i = num_border; i < pairs.size(); ++i) pairs[i].weight = weight;
}

// What is done to the pixels of each cell of the matte: picture' = picture + cell[0] * (generated -
// picture) + cell[1..3].
struct Cells {
  std::vector<std::array<float, 4>> cells;
  // 0 to 1: how far the coarse differences are in, which is where anything changes.
  std::vector<float> shares;
  // Per row the first cell that changes anything and the end of those that do.
  std::vector<std::pair<int, int>> spans;
};

// `difference` and `field` in levels per coarse cell; `difference` is what is left without `field`.
Cells WeighCells(const std::vector<float>& matte, const std::vector<float>& difference,
                 const std::vector<float>& field, float strength) {
  const auto spread = [](const std::vector<float>& coarse, bool blur) {
    cv::Mat levels =
        cv::Mat(kCoarseCells, kCoarseCells, CV_32FC3, const_cast<float*>(coarse.data())).clone();
    if (blur) {
      cv::GaussianBlur(levels, levels, {}, kCoarseBlur, kCoarseBlur, cv::BORDER_REPLICATE);
    }
    cv::Mat fine;
    cv::resize(levels, fine, {kMatteCells, kMatteCells}, 0, 0, cv::INTER_LINEAR);
    return fine;
  };
  const cv::Mat fine_difference = spread(difference, true), fine_field = spread(field, false);
  Cells out;
  out.cells.resize(matte.size());
  out.shares.resize(matte.size());
  out.spans.assign(kMatteCells, {kMatteCells, 0});
  for (int y = 0; y < kMatteCells; ++y) {
    const auto* d = fine_difference.ptr<float>(y);
    const auto* f = fine_field.ptr<float>(y);
    for (int x = 0; x < kMatteCells; ++x) {
      const size_t i = static_cast<size_t>(y) * kMatteCells + x;
      const float t = matte[i];
      if (!(t > 0)) continue;
      // The border of what is coarse is wider than that of detail.
      const float wide = SmoothStep(t);
      const float detail = SmoothStep((t - kDetailFrom) / (kDetailTo - kDetailFrom));
      out.cells[i][0] = detail;
      out.shares[i] = wide;
      for (int c = 0; c < 3; ++c) {
        out.cells[i][1 + c] = (wide - detail) * std::clamp(d[3 * x + c], -kMaxCoarse, kMaxCoarse) -
                              detail * strength * f[3 * x + c];
      }
      out.spans[y].first = std::min(out.spans[y].first, x);
      out.spans[y].second = x + 1;
    }
  }
  return out;
}

// Changes the pixels of `rect` as the cells say, which are interpolated between their centres.
void MixIn(const Cells& cells, const ColourTransfer& transfer, const cv::Mat& patch,
           const PixelRect& rect, Image& frame) {
  std::array<std::array<float, 256>, 3> levels;
  for (int c = 0; c < 3; ++c) {
    for (int i = 0; i < 256; ++i) {
      levels[c][i] =
          static_cast<float>(std::clamp(transfer.gain[c] * i + transfer.offset[c], 0.0, 255.0));
    }
  }
  const std::vector<AxisStep> columns = Spread(rect.width(), kMatteCells);
  const std::vector<AxisStep> rows = Spread(rect.height(), kMatteCells);
  std::vector<std::array<float, 4>> line(kMatteCells);
  for (int y = 0; y < rect.height(); ++y) {
    const AxisStep& row = rows[y];
    const int from_cell = std::min(cells.spans[row.cell].first, cells.spans[row.cell + 1].first);
    const int to_cell = std::max(cells.spans[row.cell].second, cells.spans[row.cell + 1].second);
    if (from_cell >= to_cell) continue;
    const auto* upper = &cells.cells[static_cast<size_t>(row.cell) * kMatteCells];
    const auto* lower = upper + kMatteCells;
    for (int i = 0; i < kMatteCells; ++i) {
      for (int k = 0; k < 4; ++k) {
        line[i][k] = upper[i][k] + row.share * (lower[i][k] - upper[i][k]);
      }
    }
    uint8_t* out = frame.row(rect.top + y) + static_cast<ptrdiff_t>(rect.left) * 3;
    const auto* in = patch.ptr<uint8_t>(y);
    // Pixels between the last empty cell before and the first one after.
    const auto begin =
        std::lower_bound(columns.begin(), columns.end(), from_cell - 1,
                         [](const AxisStep& step, int cell) { return step.cell < cell; });
    const auto end =
        std::upper_bound(columns.begin(), columns.end(), to_cell,
                         [](int cell, const AxisStep& step) { return cell < step.cell; });
    for (auto column = begin; column != end; ++column) {
      const ptrdiff_t x = 3 * (column - columns.begin());
      const std::array<float, 4>& here = line[column->cell];
      const std::array<float, 4>& next = line[column->cell + 1];
      std::array<float, 4> at;
      for (int k = 0; k < 4; ++k) at[k] = here[k] + column->share * (next[k] - here[k]);
      for (int c = 0; c < 3; ++c) {
        const auto before = static_cast<float>(out[x + c]);
        const float value = before + at[0] * (levels[c][in[x + c]] - before) + at[1 + c];
        out[x + c] = static_cast<uint8_t>(std::clamp(value + 0.5f, 0.0f, 255.0f));
      }
    }
  }
}

// Raises `matte`, a byte per pixel of a picture `width` wide, to what the cells change of `rect`.
void RaiseMatte(const Cells& cells, const PixelRect& rect, int width, std::vector<uint8_t>& matte) {
  const std::vector<AxisStep> columns = Spread(rect.width(), kMatteCells);
  const std::vector<AxisStep> rows = Spread(rect.height(), kMatteCells);
  std::vector<float> line(kMatteCells);
  for (int y = 0; y < rect.height(); ++y) {
    const AxisStep& row = rows[y];
    const float* upper = &cells.shares[static_cast<size_t>(row.cell) * kMatteCells];
    const float* lower = upper + kMatteCells;
    for (int i = 0; i < kMatteCells; ++i) line[i] = upper[i] + row.share * (lower[i] - upper[i]);
    uint8_t* out = &matte[static_cast<size_t>(rect.top + y) * width + rect.left];
    for (int x = 0; x < rect.width(); ++x) {
      const AxisStep& column = columns[x];
      const float share =
          line[column.cell] + column.share * (line[column.cell + 1] - line[column.cell]);
      // Never 0 where there is any.
      const auto level = static_cast<uint8_t>(std::ceil(std::min(255 * share, 255.0f)));
      out[x] = std::max(out[x], level);
    }
  }
}

}  // namespace

absl::Status CheckPasteBackOptions(const PasteBackOptions& options) {
  for (const absl::Status& status : {CheckRange("border", options.border, 0.01, 0.25),
                                     CheckRange("follow", options.follow, 0, 1),
                                     CheckRange("colour_match", options.colour_match, 0, 1),
                                     CheckRange("smoothing", options.smoothing, 0, 0.99)}) {
    if (!status.ok()) return status;
  }
  if (options.area != MatteArea::kFace && options.area != MatteArea::kHead &&
      options.area != MatteArea::kCrop) {
    return absl::InvalidArgumentError(
        absl::StrCat("area must be face, head or crop, is ", static_cast<int>(options.area)));
  }
  return absl::OkStatus();
}

void PasteBack::SmoothOut(const std::vector<float>& matte, std::vector<float>& difference) {
  // A pyramid of weighted sums: what is known on a level fills what is not on the next finer one.
  struct Level {
    int side = 0;
    std::vector<std::array<float, 4>> cells;  // three differences times weight, weight
  };
  std::vector<Level> levels;
  levels.push_back({kCoarseCells, {}});
  levels[0].cells.resize(static_cast<size_t>(kCoarseCells) * kCoarseCells);
  for (int y = 0; y < kCoarseCells; ++y) {
    for (int x = 0; x < kCoarseCells; ++x) {
      const size_t i = static_cast<size_t>(y) * kCoarseCells + x;
      const float t = MatteAt(matte, x, y);
      const float weight =
          t < 1
              ? 1 - SmoothStep((MostOf(&difference[3 * i]) - kDiffers) / (kDiffersMuch - kDiffers))
              : 0;
      for (int c = 0; c < 3; ++c) levels[0].cells[i][c] = weight * difference[3 * i + c];
      levels[0].cells[i][3] = weight;
    }
  }
  while (levels.back().side > 1) {
    const Level& fine = levels.back();
    Level coarse;
    coarse.side = fine.side / 2;
    coarse.cells.resize(static_cast<size_t>(coarse.side) * coarse.side);
    for (int y = 0; y < coarse.side; ++y) {
      for (int x = 0; x < coarse.side; ++x) {
        for (int c = 0; c < 4; ++c) {
          const size_t at = static_cast<size_t>(2 * y) * fine.side + 2 * x;
          coarse.cells[static_cast<size_t>(y) * coarse.side + x][c] =
              fine.cells[at][c] + fine.cells[at + 1][c] + fine.cells[at + fine.side][c] +
              fine.cells[at + fine.side + 1][c];
        }
      }
    }
    levels.push_back(std::move(coarse));
  }
  cv::Mat filled = cv::Mat::zeros(1, 1, CV_32FC3);
  for (auto level = levels.rbegin(); level != levels.rend(); ++level) {
    cv::Mat wider;
    cv::resize(filled, wider, {level->side, level->side}, 0, 0, cv::INTER_LINEAR);
    auto* to = wider.ptr<float>();
    for (size_t i = 0; i < level->cells.size(); ++i) {
      const std::array<float, 4>& cell = level->cells[i];
      // Full trust in a cell that is known by a quarter.
      const float trust = std::min(4 * cell[3] / static_cast<float>(CellsPer(level->side)), 1.0f);
      if (!(trust > 0)) continue;
      for (int c = 0; c < 3; ++c) to[3 * i + c] += trust * (cell[c] / cell[3] - to[3 * i + c]);
    }
    filled = wider;
  }
  cv::GaussianBlur(filled, filled, {}, kFieldBlur, kFieldBlur, cv::BORDER_REPLICATE);
  const auto* field = filled.ptr<float>();
  const bool first = field_.size() != difference.size();
  field_.resize(difference.size());
  const auto keep = static_cast<float>(first ? 0 : options_.smoothing);
  const auto strength = static_cast<float>(options_.colour_match);
  for (size_t i = 0; i < field_.size(); ++i) {
    const float now = std::clamp(field[i], -kMaxField, kMaxField);
    field_[i] = first ? now : now + keep * (field_[i] - now);
    difference[i] -= strength * field_[i];
  }
}

void PasteBack::Grow(const float* difference, std::vector<float>& matte) {
  cv::Mat differs(kCoarseCells, kCoarseCells, CV_32FC1);
  auto* cells = differs.ptr<float>();
  for (int i = 0; i < kCoarseCells * kCoarseCells; ++i) {
    cells[i] = SmoothStep((MostOf(difference + 3 * i) - kDiffers) / (kDiffersMuch - kDiffers));
  }
  // Two cells of margin, and soft edges.
  cv::dilate(differs, differs, cv::Mat(), {-1, -1}, 2);
  cv::GaussianBlur(differs, differs, {}, kCoarseBlur, kCoarseBlur, cv::BORDER_REPLICATE);
  if (growth_.size() != static_cast<size_t>(kCoarseCells) * kCoarseCells) {
    growth_.assign(cells, cells + kCoarseCells * kCoarseCells);
  } else {
    for (int i = 0; i < kCoarseCells * kCoarseCells; ++i) {
      growth_[i] = std::max(cells[i], kGrowthKept * growth_[i]);
    }
  }
  cv::Mat fine;
  cv::resize(cv::Mat(kCoarseCells, kCoarseCells, CV_32FC1, growth_.data()), fine,
             {kMatteCells, kMatteCells}, 0, 0, cv::INTER_LINEAR);
  const auto* grown = fine.ptr<float>();
  const auto reach = static_cast<float>(options_.follow);
  for (size_t i = 0; i < matte.size(); ++i) {
    // From the edge of the area, in border widths.
    const float away = 1 - matte[i];
    const float allowed =
        1 - SmoothStep((away - reach * kGrowFreely) / (kGrowAtMost - kGrowFreely));
    matte[i] = std::max(matte[i], kGrownDepth * grown[i] * allowed);
  }
}

absl::Status PasteBack::BlendTurned(const Image& generated, const Placement& place,
                                    const Faces& faces, Image& frame,
                                    std::vector<uint8_t>* matte_out) {
  const CropBox& box = place.box;
  if (!Consistent(frame)) return absl::InvalidArgumentError("the picture to paste into is empty");
  if (!Consistent(generated) || generated.width != generated.height) {
    return absl::InvalidArgumentError(absl::StrCat("the picture to paste must be square, is ",
                                                   generated.width, "x", generated.height));
  }
  if (!(box.side > 0) || !std::isfinite(box.side + box.center_x + box.center_y + place.turn)) {
    return absl::InvalidArgumentError(absl::StrCat("the place to paste to has side ", box.side));
  }
  if (matte_out != nullptr) {
    const size_t num_pixels = static_cast<size_t>(frame.width) * frame.height;
    if (matte_out->empty()) matte_out->assign(num_pixels, 0);
    if (matte_out->size() != num_pixels) {
      return absl::InvalidArgumentError("the matte and the picture to paste into differ in size");
    }
  }
  // All is done in the upright square about it, of which it is a share.
  const bool turned = place.turn != 0;
  const double inner =
      turned ? 1 / (std::abs(std::cos(place.turn)) + std::abs(std::sin(place.turn))) : 1;
  const double border = options_.border * inner;
  const CropBox outer = {box.center_x, box.center_y, box.side / inner};
  const PixelRect rect = Covered(outer, frame.width, frame.height);
  // Interpolation needs two of everything.
  if (rect.width() < 2 || rect.height() < 2) return absl::OkStatus();
  const double left = outer.center_x - outer.side / 2, top = outer.center_y - outer.side / 2;
  const cv::Mat original = View(frame)(cv::Rect(rect.left, rect.top, rect.width(), rect.height()));
  const cv::Mat patch = turned ? AtTurnedPixels(generated, place, rect, shrunk_, patch_)
                               : AtPixels(generated, box, rect, shrunk_, patch_);

  Faces placed = faces;
  std::vector<Landmarks> meshes;
  for (auto* face : {&placed.generated, &placed.original}) {
    if (!face->has_value()) continue;
    if (turned) *face = Turned(**face, place.turn, inner);
    meshes.push_back(**face);
  }
  const MatteWindow window = {(rect.left - left) / outer.side, (rect.top - top) / outer.side,
                              (rect.right - left) / outer.side, (rect.bottom - top) / outer.side};
  const auto fade = [&](std::vector<float>& samples) {
    if (!turned) {
      const FadingSides fading = {left > 0, top > 0, left + outer.side < frame.width,
                                  top + outer.side < frame.height};
      FadeAtSides(fading, border, window, kMatteCells, samples);
      return;
    }
    // Pixels are interpolated between cells: those outside must have no cell near that counts.
    const double cell =
        std::max(window.right - window.left, window.bottom - window.top) / kMatteCells;
    FadeAtTurnedSides(inner - 3 * cell, place.turn, FadingOf(place, frame.width, frame.height),
                      border, window, kMatteCells, samples);
  };
  std::vector<float> matte = MatteDistance(meshes, options_.area, border, window, kMatteCells);
  std::vector<float> faded = matte;
  fade(faded);

  const cv::Mat coarse_patch = Coarse(patch), coarse_original = Coarse(original);
  pairs_.clear();
  AddBorderPairs(coarse_patch, coarse_original, faded, pairs_);
  if (placed.generated.has_value() && placed.original.has_value()) {
    AddSkinPairs(coarse_patch, *placed.generated, coarse_original, *placed.original, window,
                 pairs_);
  }
  const ColourTransfer measured = EstimateTransfer(pairs_);
  transfer_ =
      transfer_.has_value() ? MixTransfers(*transfer_, measured, options_.smoothing) : measured;
  const ColourTransfer applied = ScaleTransfer(*transfer_, options_.colour_match);

  std::vector<float> difference(static_cast<size_t>(kCoarseCells) * kCoarseCells * 3);
  for (size_t i = 0; i < difference.size(); ++i) {
    const auto matched = static_cast<float>(applied.gain[i % 3] * coarse_patch.ptr<float>()[i] +
                                            applied.offset[i % 3]);
    difference[i] = matched - coarse_original.ptr<float>()[i];
  }
  SmoothOut(faded, difference);
  if (options_.follow > 0) Grow(difference.data(), matte);
  fade(matte);
  const Cells cells =
      WeighCells(matte, difference, field_, static_cast<float>(options_.colour_match));
  MixIn(cells, applied, patch, rect, frame);
  if (matte_out != nullptr) RaiseMatte(cells, rect, frame.width, *matte_out);
  return absl::OkStatus();
}

}  // namespace reenact
