#include "eval/files.h"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "pipeline/media/image_codec.h"

namespace reenact {
namespace {

constexpr uint8_t kPaper = 255;
constexpr int kGap = 4;  // pixels between clips, and beside the source

void Paste(const Image& picture, int left, int top, Image& canvas) {
  for (int y = 0; y < picture.height; ++y) {
    std::copy_n(picture.row(y), static_cast<size_t>(picture.width) * 3,
                canvas.row(top + y) + static_cast<size_t>(left) * 3);
  }
}

}  // namespace

absl::Status MakeFolder(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (!error) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(folder, ": ", error.message()));
}

absl::Status WriteWhole(const std::string& path, const std::string& bytes) {
  const std::string temporary = path + ".tmp";
  std::ofstream out(temporary, std::ios::binary);
  out << bytes;
  out.close();
  std::error_code error;
  if (out) std::filesystem::rename(temporary, path, error);
  if (out && !error) return absl::OkStatus();
  std::filesystem::remove(temporary, error);
  return absl::UnavailableError(absl::StrCat("cannot write ", path));
}

absl::Status WritePlot(const std::string& path, const Plot& plot) {
  const auto image = DrawPlot(plot);
  if (!image.ok()) return image.status();
  const auto png = EncodePng(*image);
  return png.ok() ? WriteWhole(path, *png) : png.status();
}

absl::Status WriteSampleSheet(const std::string& path, const std::vector<SampleClip>& samples,
                              int columns) {
  if (samples.empty()) return absl::InvalidArgumentError("there is no clip to show");
  const int size = samples.front().source.width;
  Image sheet;
  sheet.width = (columns + 1) * size + kGap;
  sheet.height = static_cast<int>(samples.size()) * (2 * size + kGap) - kGap;
  sheet.rgb.assign(static_cast<size_t>(sheet.width) * static_cast<size_t>(sheet.height) * 3,
                   kPaper);
  for (size_t i = 0; i < samples.size(); ++i) {
    const SampleClip& sample = samples[i];
    const int top = static_cast<int>(i) * (2 * size + kGap);
    Paste(sample.source, 0, top + size / 2, sheet);
    const auto count = static_cast<int>(sample.generated.size());
    for (int c = 0; c < columns; ++c) {
      const auto frame = static_cast<size_t>(columns > 1 ? c * (count - 1) / (columns - 1) : 0);
      const int left = (c + 1) * size + kGap;
      Paste(sample.driving[frame], left, top, sheet);
      Paste(sample.generated[frame], left, top + size, sheet);
    }
  }
  const auto png = EncodePng(sheet);
  return png.ok() ? WriteWhole(path, *png) : png.status();
}

}  // namespace reenact
