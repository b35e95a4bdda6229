// `demo`: the demonstration's source portrait and driving clip.
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "pipeline/media/image_codec.h"
#include "pipeline/media/video_writer.h"
#include "training/data_cache.h"
#include "training/people/people.h"
#include "training/stages.h"

namespace reenact {
namespace {

struct DemoOptions {
  std::string portrait, driving;
  uint64_t source_seed = kFirstHeldOutSeed, driver_seed = kFirstHeldOutSeed + 1;
  int num_frames = 250, fps = 25, size = 384;
  View portrait_view;
};

absl::Status WriteWhole(const std::string& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary);
  out << bytes;
  out.close();
  return out ? absl::OkStatus() : absl::UnavailableError(absl::StrCat("cannot write ", path));
}

// A frontal, relaxed picture.
absl::Status WritePortrait(const DemoOptions& options) {
  const Person person = MakePerson(options.source_seed);
  FaceState relaxed;
  relaxed.view = options.portrait_view;
  const auto png = EncodePng(PersonRenderer(person).Draw(relaxed, options.size).image);
  if (!png.ok()) return png.status();
  std::cout << "source: " << Caption(person) << '\n';
  return WriteWhole(options.portrait, *png);
}

absl::Status WriteDriving(const DemoOptions& options) {
  const Person person = MakePerson(options.driver_seed);
  const PersonRenderer renderer(person);
  VideoWriter::Options writer_options;
  writer_options.width = writer_options.height = options.size;
  writer_options.time_base_num = 1;
  writer_options.time_base_den = options.fps;
  writer_options.frame_rate_num = options.fps;
  writer_options.crf = 18;
  auto writer = VideoWriter::Create(std::move(writer_options));
  if (!writer.ok()) return writer.status();

  std::string file;
  const auto append = [&file](const absl::StatusOr<std::vector<VideoWriter::Piece>>& pieces) {
    if (!pieces.ok()) return pieces.status();
    for (const VideoWriter::Piece& piece : *pieces) file += piece.data;
    return absl::OkStatus();
  };
  const std::vector<FaceState> motion = DemoMotion(options.num_frames, options.fps);
  for (int i = 0; i < options.num_frames; ++i) {
    const Image image = renderer.Draw(motion[i], options.size).image;
    if (const absl::Status status = append((*writer)->Write(image, i, 1)); !status.ok()) {
      return status;
    }
  }
  if (const absl::Status status = append((*writer)->Finish()); !status.ok()) return status;
  std::cout << "driver: " << Caption(person) << '\n';
  return WriteWhole(options.driving, file);
}

}  // namespace

void AddDemoStage(CLI::App& app, std::vector<Subcommand>& stages) {
  auto options = std::make_shared<DemoOptions>();
  CLI::App* command =
      app.add_subcommand("demo", "draw a source portrait and a driving clip of another person");
  command->add_option("--portrait", options->portrait, "PNG file to write");
  command->add_option("--driving", options->driving, "MP4 file to write");
  command
      ->add_option("--portrait-scale", options->portrait_view.scale, "1: close, 0.5: half as large")
      ->check(CLI::Range(0.2, 1.5))
      ->capture_default_str();
  command
      ->add_option("--portrait-shift-x", options->portrait_view.shift_x,
                   "to the right, as a fraction of the picture")
      ->check(CLI::Range(-0.5, 0.5))
      ->capture_default_str();
  command->add_option("--portrait-shift-y", options->portrait_view.shift_y, "down")
      ->check(CLI::Range(-0.5, 0.5))
      ->capture_default_str();
  command->add_option("--source-seed", options->source_seed)->capture_default_str();
  command->add_option("--driver-seed", options->driver_seed)->capture_default_str();
  command->add_option("--frames", options->num_frames)
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command->add_option("--fps", options->fps)->check(CLI::Range(1, 120))->capture_default_str();
  command->add_option("--size", options->size, "pixels, even")
      ->check(CLI::Range(64, 1024))
      ->capture_default_str();
  stages.push_back({command, [options](const StageContext&) {
                      if (options->portrait.empty() && options->driving.empty()) {
                        return absl::InvalidArgumentError(
                            "nothing to draw: give --portrait, --driving or both");
                      }
                      absl::Status status;
                      if (!options->portrait.empty()) status = WritePortrait(*options);
                      if (status.ok() && !options->driving.empty()) status = WriteDriving(*options);
                      return status;
                    }});
}

}  // namespace reenact
