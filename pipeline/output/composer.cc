#include "pipeline/output/composer.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "pipeline/compose/face_matte.h"
#include "pipeline/media/resize.h"

namespace reenact {
namespace {

// `parts`, of one size, side by side; `bytes_per_row` is that of one of them.
std::vector<uint8_t> SideBySide(const std::vector<const std::vector<uint8_t>*>& parts,
                                size_t bytes_per_row) {
  std::vector<uint8_t> all;
  all.reserve(parts.size() * parts[0]->size());
  for (size_t at = 0; at < parts[0]->size(); at += bytes_per_row) {
    for (const std::vector<uint8_t>* part : parts) {
      const auto begin = part->begin() + static_cast<ptrdiff_t>(at);
      all.insert(all.end(), begin, begin + static_cast<ptrdiff_t>(bytes_per_row));
    }
  }
  return all;
}

}  // namespace

Composer::Composer(const Options& options, size_t num_faces)
    : Composer(options, std::vector<Face>(num_faces), nullptr, nullptr) {}

Composer::Composer(const Options& options, std::vector<Face> faces, const Image& whole)
    : Composer(options, std::move(faces), &whole, nullptr) {}

Composer::Composer(const Options& options, std::vector<Face> faces, SourceClip& clip)
    : Composer(options, std::move(faces), nullptr, &clip) {}

Composer::Composer(const Options& options, std::vector<Face> faces, const Image* whole,
                   SourceClip* clip)
    : options_(options),
      faces_(std::move(faces)),
      whole_(whole),
      clip_(clip),
      paste_backs_(faces_.size(), PasteBack(options.paste_back)),
      order_(faces_.size()) {
  std::iota(order_.begin(), order_.end(), size_t{0});
  std::stable_sort(order_.begin(), order_.end(),
                   [this](size_t a, size_t b) { return faces_[a].box.side < faces_[b].box.side; });
}

int Composer::width() const {
  if (clip_ != nullptr) return clip_->width();
  return whole_ != nullptr ? whole_->width : options_.square_size * static_cast<int>(faces_.size());
}

int Composer::height() const {
  if (clip_ != nullptr) return clip_->height();
  return whole_ != nullptr ? whole_->height : options_.square_size;
}

void Composer::PutSideBySide(std::vector<Generated> faces, OutputPicture* picture) const {
  const int size = options_.square_size;
  std::vector<std::vector<uint8_t>> mattes;
  std::vector<const std::vector<uint8_t>*> squares, levels;
  for (Generated& face : faces) {
    if (face.square.width != size) face.square = ResizeImage(face.square, size, size);
    squares.push_back(&face.square.rgb);
    if (!options_.matte) continue;
    mattes.push_back(
        FaceMatte({face.landmarks}, options_.paste_back.area, options_.paste_back.border, size));
  }
  picture->image.width = width();
  picture->image.height = height();
  if (faces.size() == 1) {
    picture->image.rgb = std::move(faces[0].square.rgb);
    if (options_.matte) picture->matte = std::move(mattes[0]);
    return;
  }
  const auto row = static_cast<size_t>(size);
  picture->image.rgb = SideBySide(squares, 3 * row);
  if (!options_.matte) return;
  for (const std::vector<uint8_t>& matte : mattes) levels.push_back(&matte);
  picture->matte = SideBySide(levels, row);
}

absl::Status Composer::PutIntoClip(double seconds, const std::vector<Generated>& faces,
                                   OutputPicture* picture) {
  const int index = clip_->IndexAt(seconds);
  const auto frame = clip_->Frame(index);
  if (!frame.ok()) {
    return absl::Status(frame.status().code(),
                        absl::StrCat("source.video: ", frame.status().message()));
  }
  picture->image = **frame;
  picture->matte.assign(options_.matte ? static_cast<size_t>(clip_->width()) * clip_->height() : 0,
                        0);
  const int scene = clip_->path(0).scene(index);
  if (std::exchange(scene_, scene) != scene) {
    for (PasteBack& paste_back : paste_backs_) paste_back.Reset();
  }
  for (const size_t face : order_) {
    const FacePath& path = clip_->path(face);
    const auto place = path.place(index);
    if (!place.has_value()) continue;
    const absl::Status status = paste_backs_[face].BlendTurned(
        faces[face].square, *place,
        {.generated = faces[face].landmarks, .original = path.landmarks(index)}, picture->image,
        options_.matte ? &picture->matte : nullptr);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Composer::Compose(double seconds, std::vector<Generated> faces,
                               OutputPicture* picture) {
  if (clip_ != nullptr) return PutIntoClip(seconds, faces, picture);
  if (whole_ == nullptr) {
    PutSideBySide(std::move(faces), picture);
    return absl::OkStatus();
  }
  picture->image = *whole_;
  picture->matte.clear();
  for (const size_t face : order_) {
    const absl::Status status = paste_backs_[face].Blend(
        faces[face].square, faces_[face].box,
        {.generated = faces[face].landmarks, .original = faces_[face].original}, picture->image,
        options_.matte ? &picture->matte : nullptr);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace reenact
