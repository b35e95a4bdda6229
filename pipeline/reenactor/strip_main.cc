// reenact-strip: one picture that shows what a reenactment did. The source at the left; right of
// it, for moments spread evenly over the clip, the driver's face above and the generated frame
// below.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
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
  std::string source, driving, generated, output, face_models;
  int columns = 6;
  int size = 192;
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

absl::Status MakeStrip(const Arguments& arguments) {
  auto models = ReadFaceModels(FaceModelsFolder(arguments.face_models), {}, {});
  if (!models.ok()) return models.status();
  auto landmarker = FaceLandmarker::Create({models->detector, models->landmark_model});
  if (!landmarker.ok()) return landmarker.status();

  auto source_bytes = ReadWhole(arguments.source);
  if (!source_bytes.ok()) return source_bytes.status();
  auto source = DecodeImage(*source_bytes);
  if (!source.ok()) return source.status();
  auto driving_bytes = ReadWhole(arguments.driving);
  if (!driving_bytes.ok()) return driving_bytes.status();
  auto generated_bytes = ReadWhole(arguments.generated);
  if (!generated_bytes.ok()) return generated_bytes.status();

  auto num_driving = CountFrames(*driving_bytes);
  if (!num_driving.ok()) return num_driving.status();
  auto num_generated = CountFrames(*generated_bytes);
  if (!num_generated.ok()) return num_generated.status();
  const std::vector<int> moments =
      Moments(std::min(*num_driving, *num_generated), arguments.columns);
  auto driving = PickFrames(*driving_bytes, moments);
  if (!driving.ok()) return driving.status();
  auto generated = PickFrames(*generated_bytes, moments);
  if (!generated.ok()) return generated.status();

  const int size = arguments.size;
  auto source_crop = CropFaces(**landmarker, {*source}, size);
  if (!source_crop.ok()) return source_crop.status();
  auto driving_crops = CropFaces(**landmarker, *driving, size);
  if (!driving_crops.ok()) return driving_crops.status();

  Image canvas;
  canvas.width = (arguments.columns + 1) * (size + kGap) - kGap + 2 * kGap;
  canvas.height = 2 * size + kGap;
  canvas.rgb.assign(static_cast<size_t>(canvas.width) * canvas.height * 3, kPaper);
  Paste((*source_crop)[0], 0, (canvas.height - size) / 2, canvas);
  for (int i = 0; i < arguments.columns; ++i) {
    const int left = (i + 1) * (size + kGap) + 2 * kGap;
    Paste((*driving_crops)[i], left, 0, canvas);
    Paste(ResizeImage((*generated)[i], size, size), left, size + kGap, canvas);
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
  app.add_option("--driving", arguments.driving, "Driving video")->required();
  app.add_option("--generated", arguments.generated, "Video made from the two")->required();
  app.add_option("-o,--output", arguments.output, "PNG file to write")->required();
  app.add_option("--columns", arguments.columns, "Moments shown")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--size", arguments.size, "Side of each picture, pixels")
      ->check(CLI::Range(16, 1024))
      ->capture_default_str();
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
