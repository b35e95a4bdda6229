#include "tests/bench/clip.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "pipeline/face/crop.h"
#include "pipeline/media/video_reader.h"
#include "pipeline/media/video_writer.h"

namespace reenact::bench {

absl::StatusOr<std::vector<Image>> ReadFrames(const std::string& video, int max_frames) {
  auto reader = VideoReader::Open(video);
  if (!reader.ok()) return reader.status();
  std::vector<Image> images;
  while (static_cast<int>(images.size()) < max_frames) {
    auto frame = (*reader)->Next();
    if (!frame.ok()) return frame.status();
    if (!frame->has_value()) break;
    images.push_back(std::move((*frame)->image));
  }
  return images;
}

int ForthAndBack(int index, int available) {
  if (available == 1) return 0;
  const int period = 2 * (available - 1);
  const int phase = index % period;
  return phase < available ? phase : period - phase;
}

absl::StatusOr<std::string> EncodeClip(const std::vector<Image>& images, int num_frames) {
  if (images.empty()) return absl::InvalidArgumentError("there are no pictures for a clip");
  VideoWriter::Options options;
  options.width = images.front().width;
  options.height = images.front().height;
  options.time_base_num = 1;
  options.time_base_den = 25;
  options.frame_rate_num = 25;
  auto writer = VideoWriter::Create(std::move(options));
  if (!writer.ok()) return writer.status();
  std::string file;
  const auto append = [&file](const std::vector<VideoWriter::Piece>& pieces) {
    for (const VideoWriter::Piece& piece : pieces) file += piece.data;
  };
  for (int i = 0; i < num_frames; ++i) {
    const int shown = ForthAndBack(i, static_cast<int>(images.size()));
    auto pieces = (*writer)->Write(images[static_cast<size_t>(shown)], i, 1);
    if (!pieces.ok()) return pieces.status();
    append(*pieces);
  }
  auto pieces = (*writer)->Finish();
  if (!pieces.ok()) return pieces.status();
  append(*pieces);
  return file;
}

absl::StatusOr<std::string> MakeClip(const std::string& video, int num_frames) {
  const auto images = ReadFrames(video, num_frames);
  if (!images.ok()) return images.status();
  return EncodeClip(*images, num_frames);
}

Image MovingPicture(int width, int height, int index) {
  Image image;
  image.width = width;
  image.height = height;
  image.rgb.resize(static_cast<size_t>(width) * static_cast<size_t>(height) * 3);
  const int side = std::max(1, std::min(width, height) / 4);
  const int left = (7 * index) % std::max(1, width - side);
  const int top = (5 * index) % std::max(1, height - side);
  for (int y = 0; y < height; ++y) {
    uint8_t* row = image.row(y);
    for (int x = 0; x < width; ++x) {
      const bool inside = x >= left && x < left + side && y >= top && y < top + side;
      const double wave = std::sin(0.05 * (x + 2 * index)) * std::cos(0.04 * (y - index));
      row[3 * x] = static_cast<uint8_t>(inside ? 240 : 128 + 90 * wave);
      row[3 * x + 1] = static_cast<uint8_t>(inside ? 220 : 255 * x / width);
      row[3 * x + 2] = static_cast<uint8_t>(inside ? 40 : 255 * y / height);
    }
  }
  return image;
}

Image CentreSquare(const Image& image, int side) {
  const CropBox box = {0.5 * image.width, 0.5 * image.height,
                       static_cast<double>(std::min(image.width, image.height))};
  return CropImage(image, box, side);
}

}  // namespace reenact::bench
