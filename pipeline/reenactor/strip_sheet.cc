#include "pipeline/reenactor/strip_sheet.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "pipeline/media/resize.h"
#include "pipeline/media/sheet.h"

namespace reenact {
namespace {

constexpr int kMinSize = 16, kMaxSize = 1024;
constexpr int kFont = cv::FONT_HERSHEY_SIMPLEX;
// Of a font 22 pixels high; a label takes the largest that lets it fit.
constexpr double kLargestFont = 0.5, kSmallestFont = 0.25, kFontStep = 0.025;

Image Scaled(const Image& image, int height) {
  return ResizeImage(image, std::max(1, image.width * height / image.height), height);
}

int WidthOf(const std::string& text, double font) {
  int baseline = 0;
  return cv::getTextSize(text, kFont, font, 1, &baseline).width;
}

// A word that is wider than `width` is a line of its own, and cut off when drawn.
std::vector<std::string> Wrapped(const std::string& text, double font, int width) {
  std::vector<std::string> lines;
  for (const absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    std::string longer = lines.empty() ? std::string(word) : absl::StrCat(lines.back(), " ", word);
    if (!lines.empty() && WidthOf(longer, font) <= width) {
      lines.back() = std::move(longer);
    } else {
      lines.emplace_back(word);
    }
  }
  return lines;
}

int LineHeight(double font) { return static_cast<int>(36 * font); }

Image DrawLabel(const std::string& text, int size) {
  double font = kLargestFont;
  std::vector<std::string> lines = Wrapped(text, font, size);
  const auto fits = [&] {
    return static_cast<int>(lines.size()) * LineHeight(font) <= size &&
           std::all_of(lines.begin(), lines.end(),
                       [&](const std::string& line) { return WidthOf(line, font) <= size; });
  };
  while (!fits() && font > kSmallestFont) {
    font -= kFontStep;
    lines = Wrapped(text, font, size);
  }
  cv::Mat cell(size, size, CV_8UC3, cv::Scalar(kSheetPaper, kSheetPaper, kSheetPaper));
  const int height = LineHeight(font);
  int base = (size - height * static_cast<int>(lines.size())) / 2 + height * 3 / 4;
  for (const std::string& line : lines) {
    cv::putText(cell, line, {0, base}, kFont, font, cv::Scalar(30, 30, 30), 1, cv::LINE_AA);
    base += height;
  }
  Image image{size, size, {}};
  image.rgb.assign(cell.datastart, cell.dataend);
  return image;
}

// Side by side, a gap between them.
Image Joined(const std::vector<Image>& pictures) {
  int width = -kSheetGap;
  for (const Image& picture : pictures) width += picture.width + kSheetGap;
  Image row = BlankSheet(width, pictures.front().height);
  int left = 0;
  for (const Image& picture : pictures) {
    PutOnSheet(picture, left, 0, row);
    left += picture.width + kSheetGap;
  }
  return row;
}

// One below the other from `left` on; a row may have none. Returns where the next column begins.
int PasteColumn(const std::vector<Image>& cells, int left, int size, Image& canvas) {
  int width = 0;
  for (size_t i = 0; i < cells.size(); ++i) {
    if (cells[i].empty()) continue;
    PutOnSheet(cells[i], left, static_cast<int>(i) * (size + kSheetGap), canvas);
    width = std::max(width, cells[i].width);
  }
  return width == 0 ? left : left + width + 3 * kSheetGap;
}

int Widest(const std::vector<Image>& cells) {
  int width = 0;
  for (const Image& cell : cells) width = std::max(width, cell.width);
  return width;
}

}  // namespace

absl::StatusOr<Image> DrawStrip(const Image& source, const std::vector<StripRow>& rows, int size) {
  if (size < kMinSize || size > kMaxSize) {
    return absl::InvalidArgumentError(
        absl::StrCat("size is ", size, ", must be ", kMinSize, "..", kMaxSize));
  }
  if (rows.empty()) return absl::InvalidArgumentError("a strip needs a row");
  std::vector<Image> sources, labels, videos;
  for (const StripRow& row : rows) {
    if (row.pictures.empty()) return absl::InvalidArgumentError("a row needs a picture");
    sources.push_back(row.source.empty() ? Image() : Scaled(row.source, size));
    labels.push_back(row.label.empty() ? Image() : DrawLabel(row.label, size));
    std::vector<Image> pictures;
    for (const Image& picture : row.pictures) pictures.push_back(Scaled(picture, size));
    videos.push_back(Joined(pictures));
  }
  const Image common = source.empty() ? Image() : Scaled(source, size);
  int width = Widest(videos);
  for (const int column : {common.width, Widest(sources), Widest(labels)}) {
    if (column > 0) width += column + 3 * kSheetGap;
  }
  Image canvas = BlankSheet(width, static_cast<int>(rows.size()) * (size + kSheetGap) - kSheetGap);
  int left = 0;
  if (!common.empty()) {
    PutOnSheet(common, 0, (canvas.height - size) / 2, canvas);
    left = common.width + 3 * kSheetGap;
  }
  left = PasteColumn(sources, left, size, canvas);
  left = PasteColumn(labels, left, size, canvas);
  PasteColumn(videos, left, size, canvas);
  return canvas;
}

}  // namespace reenact
