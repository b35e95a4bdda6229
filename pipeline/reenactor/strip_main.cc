// reenact-strip: one picture that shows what a reenactment did. The source at the left; right of
// it, for moments spread evenly over the clip, the driver's face above (if he is to be shown) and
// the generated frames below, a row for each video.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "pipeline/face/crop.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/image.h"
#include "pipeline/media/image_codec.h"
#include "pipeline/media/resize.h"
#include "pipeline/media/video_reader.h"
#include "pipeline/reenactor/face_models.h"

namespace reenact {
namespace {

constexpr int kGap = 4;          // pixels between pictures
constexpr uint8_t kPaper = 255;  // their colour

struct Arguments {
  std::string source, driving, output, face_models;
  std::vector<std::string> generated;
  int columns = 6;
  int size = 192;
  bool whole_source = false;
};

absl::StatusOr<std::string> ReadWhole(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat("cannot open ", path));
  std::ostringstream content;
  content << in.rdbuf();
  return std::move(content).str();
}

// The frames of a video at `columns` moments spread evenly over it, first and last included.
// `count` is the number of frames, from a first reading.
std::vector<int> Moments(int count, int columns) {
  std::vector<int> moments;
  for (int i = 0; i < columns; ++i) {
    moments.push_back(columns == 1 ? count / 2
                                   : static_cast<int>(int64_t{i} * (count - 1) / (columns - 1)));
  }
  return moments;
}

absl::StatusOr<int> CountFrames(const std::string& bytes) {
  auto reader = VideoReader::Open(bytes);
  if (!reader.ok()) return reader.status();
  int count = 0;
  while (true) {
    auto frame = (*reader)->Next();
    if (!frame.ok()) return frame.status();
    if (!frame->has_value()) return count;
    ++count;
  }
}

// `moments` is sorted and may repeat.
absl::StatusOr<std::vector<Image>> PickFrames(const std::string& bytes,
                                              const std::vector<int>& moments) {
  auto reader = VideoReader::Open(bytes);
  if (!reader.ok()) return reader.status();
  std::vector<Image> picked;
  for (int index = 0; picked.size() < moments.size(); ++index) {
    auto frame = (*reader)->Next();
    if (!frame.ok()) return frame.status();
    if (!frame->has_value()) return absl::InternalError("a video became shorter while reading it");
    while (picked.size() < moments.size() && moments[picked.size()] == index) {
      picked.push_back((*frame)->image);
    }
  }
  return picked;
}

// Pictures of one clip, cropped by one box around the face, or whole if there is none.
absl::StatusOr<std::vector<Image>> CropFaces(FaceLandmarker& landmarker,
                                             const std::vector<Image>& images, int size) {
  std::vector<Landmarks> faces;
  for (const Image& image : images) {
    auto face = landmarker.Detect(image);
    if (!face.ok()) return face.status();
    if (face->has_value()) faces.push_back((*face)->landmarks);
  }
  const CropBox box = FaceCrop(faces, images[0].width, images[0].height);
  std::vector<Image> crops;
  for (const Image& image : images) crops.push_back(CropImage(image, box, size));
  return crops;
}

void Paste(const Image& picture, int left, int top, Image& canvas) {
  for (int y = 0; y < picture.height; ++y) {
    std::copy_n(picture.row(y), static_cast<size_t>(picture.width) * 3,
                canvas.row(top + y) + static_cast<size_t>(left) * 3);
  }
}

// `height` pixels high, its shape kept.
Image Scaled(const Image& image, int height) {
  return ResizeImage(image, std::max(1, image.width * height / image.height), height);
}

// Side by side, a gap between them.
Image Row(const std::vector<Image>& pictures) {
  Image row;
  row.height = pictures[0].height;
  row.width = -kGap;
  for (const Image& picture : pictures) row.width += picture.width + kGap;
  row.rgb.assign(static_cast<size_t>(row.width) * row.height * 3, kPaper);
  int left = 0;
  for (const Image& picture : pictures) {
    Paste(picture, left, 0, row);
    left += picture.width + kGap;
  }
  return row;
}

absl::Status MakeStrip(const Arguments& arguments) {
  auto models = ReadFaceModels(FaceModelsFolder(arguments.face_models), {}, {});
  if (!models.ok()) return models.status();
  auto landmarker = FaceLandmarker::Create({models->detector, models->landmark_model});
  if (!landmarker.ok()) return landmarker.status();

  auto source_bytes = ReadWhole(arguments.source);
  if (!source_bytes.ok()) return source_bytes.status();
  auto source = DecodeImage(*source_bytes);
  if (!source.ok()) return source.status();
  std::vector<std::string> generated_bytes;
  int count = std::numeric_limits<int>::max();
  for (const std::string& path : arguments.generated) {
    auto bytes = ReadWhole(path);
    if (!bytes.ok()) return bytes.status();
    auto num_frames = CountFrames(*bytes);
    if (!num_frames.ok()) return num_frames.status();
    generated_bytes.push_back(*std::move(bytes));
    count = std::min(count, *num_frames);
  }
  std::string driving_bytes;
  if (!arguments.driving.empty()) {
    auto bytes = ReadWhole(arguments.driving);
    if (!bytes.ok()) return bytes.status();
    driving_bytes = *std::move(bytes);
    auto num_driving = CountFrames(driving_bytes);
    if (!num_driving.ok()) return num_driving.status();
    count = std::min(count, *num_driving);
  }
  const std::vector<int> moments = Moments(count, arguments.columns);

  const int size = arguments.size;
  std::vector<Image> rows;  // from above
  if (!driving_bytes.empty()) {
    auto driving = PickFrames(driving_bytes, moments);
    if (!driving.ok()) return driving.status();
    auto crops = CropFaces(**landmarker, *driving, size);
    if (!crops.ok()) return crops.status();
    rows.push_back(Row(*crops));
  }
  for (const std::string& bytes : generated_bytes) {
    auto generated = PickFrames(bytes, moments);
    if (!generated.ok()) return generated.status();
    for (Image& image : *generated) image = Scaled(image, size);
    rows.push_back(Row(*generated));
  }
  Image first = Scaled(*source, size);
  if (!arguments.whole_source) {
    auto crop = CropFaces(**landmarker, {*source}, size);
    if (!crop.ok()) return crop.status();
    first = (*crop)[0];
  }

  const int left = first.width + 3 * kGap;
  Image canvas;
  canvas.height = static_cast<int>(rows.size()) * (size + kGap) - kGap;
  for (const Image& row : rows) canvas.width = std::max(canvas.width, left + row.width);
  canvas.rgb.assign(static_cast<size_t>(canvas.width) * canvas.height * 3, kPaper);
  Paste(first, 0, (canvas.height - size) / 2, canvas);
  for (size_t i = 0; i < rows.size(); ++i) {
    Paste(rows[i], left, static_cast<int>(i) * (size + kGap), canvas);
  }
  auto png = EncodePng(canvas);
  if (!png.ok()) return png.status();
  std::ofstream out(arguments.output, std::ios::binary);
  out << *png;
  out.close();
  if (!out) return absl::InternalError(absl::StrCat("cannot write ", arguments.output));
  return absl::OkStatus();
}

}  // namespace
}  // namespace reenact

int main(int argc, char** argv) {
  reenact::Arguments arguments;
  CLI::App app("Puts the source, driving faces and generated frames into one picture.");
  app.add_option("--source", arguments.source, "Source image")->required();
  app.add_option("--driving", arguments.driving, "Driving video; without it no driver is shown");
  app.add_option("--generated", arguments.generated, "Video made from the two; several: a row each")
      ->required();
  app.add_option("-o,--output", arguments.output, "PNG file to write")->required();
  app.add_option("--columns", arguments.columns, "Moments shown")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--size", arguments.size, "Height of each picture, pixels")
      ->check(CLI::Range(16, 1024))
      ->capture_default_str();
  app.add_flag("--whole-source", arguments.whole_source, "Show the whole source, not its face");
  app.add_option("--face-models", arguments.face_models,
                 "Folder of the .tflite files (default: REENACT_FACE_MODELS, .deps/mediapipe)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;  // 0: --help
  }

  const absl::Status status = reenact::MakeStrip(arguments);
  if (!status.ok()) {
    std::cerr << "reenact-strip: " << status.message() << "\n";
    return 1;
  }
  return 0;
}
