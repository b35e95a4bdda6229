#include "eval/files.h"

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "pipeline/media/image_codec.h"
#include "pipeline/media/sheet.h"

namespace reenact {

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

Image DrawSample(const Image& source, const std::vector<Image>& driving,
                 const std::vector<Image>& generated, int columns) {
  const int size = source.width;
  Image sample = BlankSheet((columns + 1) * size + kSheetGap, 2 * size);
  PutOnSheet(source, 0, size / 2, sample);
  const auto count = static_cast<int>(generated.size());
  for (int c = 0; c < columns; ++c) {
    const auto frame = static_cast<size_t>(columns > 1 ? c * (count - 1) / (columns - 1) : 0);
    const int left = (c + 1) * size + kSheetGap;
    PutOnSheet(driving[frame], left, 0, sample);
    PutOnSheet(generated[frame], left, size, sample);
  }
  return sample;
}

absl::Status WriteSampleSheet(const std::string& path, const std::vector<Image>& samples) {
  if (samples.empty()) return absl::InvalidArgumentError("there is no clip to show");
  const int step = samples.front().height + kSheetGap;
  Image sheet =
      BlankSheet(samples.front().width, static_cast<int>(samples.size()) * step - kSheetGap);
  for (size_t i = 0; i < samples.size(); ++i) {
    PutOnSheet(samples[i], 0, static_cast<int>(i) * step, sheet);
  }
  const auto png = EncodePng(sheet);
  return png.ok() ? WriteWhole(path, *png) : png.status();
}

}  // namespace reenact
