#include "training/contact_sheet.h"

#include <algorithm>

#include "pipeline/image.h"
#include "pipeline/media/image_codec.h"
#include "training/atomic_file.h"

namespace reenact {

absl::StatusOr<Image> MakeContactSheet(const std::vector<std::vector<torch::Tensor>>& rows) {
  size_t columns = 0;
  for (const auto& row : rows) columns = std::max(columns, row.size());
  if (columns == 0) return absl::InvalidArgumentError("no pictures for the contact sheet");
  const torch::Tensor& first = rows.front().front();
  const torch::Tensor grey = torch::full_like(first, 128);
  std::vector<torch::Tensor> strips;
  for (const auto& row : rows) {
    std::vector<torch::Tensor> pictures = row;
    pictures.resize(columns, grey);
    strips.push_back(torch::cat(pictures, /*dim=*/2));
  }
  const torch::Tensor sheet = torch::cat(strips, /*dim=*/1).permute({1, 2, 0}).contiguous();

  Image image;
  image.height = static_cast<int>(sheet.size(0));
  image.width = static_cast<int>(sheet.size(1));
  const auto* bytes = sheet.data_ptr<uint8_t>();
  image.rgb.assign(bytes, bytes + sheet.numel());
  return image;
}

absl::Status WriteContactSheet(const std::string& path,
                               const std::vector<std::vector<torch::Tensor>>& rows) {
  const auto sheet = MakeContactSheet(rows);
  if (!sheet.ok()) return sheet.status();
  const auto png = EncodePng(*sheet);
  if (!png.ok()) return png.status();
  return WriteFileAtomically(path, *png);
}

}  // namespace reenact
