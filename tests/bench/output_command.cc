// `output`: putting squares back and encoding, one after the other and side by side, as a job's
// rendering does it: what the encoder's own thread gains.
#include <time.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "pipeline/output/composer.h"
#include "pipeline/output/output_encoder.h"
#include "tests/bench/clip.h"
#include "tests/bench/measure.h"
#include "tests/bench/subcommand.h"

namespace reenact::bench {
namespace {

struct Flags {
  std::vector<int> sizes = {64, 128, 256, 512, 1024};
  int frames = 60;
  int repeats = 3;
  double decode_ms = 0;
};

constexpr int kSquare = 256;
// Squares that are put back, again and again.
constexpr int kPictures = 8;

// Processor time of this thread alone.
double ThreadMilliseconds() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return 1e3 * static_cast<double>(now.tv_sec) + 1e-6 * static_cast<double>(now.tv_nsec);
}

// Milliseconds a frame, by the wall.
absl::StatusOr<double> RunOnce(const Flags& flags, int size, bool own_thread,
                               const std::vector<Image>& squares, const Image& whole) {
  const CropBox box = {0.5 * size + 0.3, 0.5 * size - 0.2, 0.8 * size};
  Composer composer({.paste_back = {}, .matte = false, .square_size = kSquare},
                    {{box, std::nullopt}}, whole);
  OutputEncoder::Options options;
  options.video.width = options.video.height = size;
  options.video.time_base_den = 25;
  options.video.frame_rate_num = 25;
  options.own_thread = own_thread;
  auto encoder = OutputEncoder::Create(std::move(options));
  if (!encoder.ok()) return encoder.status();
  const Stopwatch whole_time;
  for (int i = 0; i < flags.frames; ++i) {
    // Stands for a latent's decoding.
    for (const double start = ThreadMilliseconds();
         ThreadMilliseconds() - start < flags.decode_ms;) {
    }
    OutputEncoder::Frame frame{.index = i, .pts = i, .duration = 1, .picture = {}};
    frame.picture = (*encoder)->TakeSpare();
    const Image& square = squares[static_cast<size_t>(i % kPictures)];
    if (auto status = composer.Compose(i / 25.0, {{square, {}}}, &*frame.picture); !status.ok()) {
      return status;
    }
    if (auto status = (*encoder)->Add(std::move(frame)); !status.ok()) return status;
    if (auto encoded = (*encoder)->Take(); !encoded.ok()) return encoded.status();
  }
  if (auto status = (*encoder)->Finish(); !status.ok()) return status;
  while ((*encoder)->WaitForOne()) {
  }
  return 1000 * whole_time.elapsed().wall / flags.frames;
}

absl::Status Run(const Flags& flags, Report& report) {
  for (const int size : flags.sizes) {
    std::vector<Image> squares;
    for (int i = 0; i < kPictures; ++i) squares.push_back(MovingPicture(kSquare, kSquare, i));
    const Image whole = MovingPicture(size, size, 0);
    std::vector<double> alone, threaded, gains;
    for (int repeat = 0; repeat < flags.repeats; ++repeat) {
      double wall[2] = {};
      for (const bool turned : {false, true}) {
        const bool own_thread = turned != (repeat % 2 == 1);
        const auto time = RunOnce(flags, size, own_thread, squares, whole);
        if (!time.ok()) return time.status();
        wall[own_thread ? 1 : 0] = *time;
      }
      alone.push_back(wall[0]);
      threaded.push_back(wall[1]);
      gains.push_back(wall[0] / wall[1]);
    }
    Json json;
    json["bench"] = "output";
    json["size"] = absl::StrCat(size, "x", size);
    json["frames"] = flags.frames;
    json["decode_ms"] = Number(flags.decode_ms, 3);
    json["one_thread_ms_per_frame"] = Number(*std::min_element(alone.begin(), alone.end()), 4);
    json["own_thread_ms_per_frame"] =
        Number(*std::min_element(threaded.begin(), threaded.end()), 4);
    json["speedup_median"] = Number(Median(gains), 3);
    json["clock"] = "wall";
    report.Add(json);
  }
  return absl::OkStatus();
}

}  // namespace

void AddOutput(CLI::App& app, std::vector<Subcommand>& subcommands) {
  CLI::App* command = app.add_subcommand(
      "output", "Putting back and encoding on one thread and on two, milliseconds a frame");
  const auto flags = std::make_shared<Flags>();
  command->add_option("--sizes", flags->sizes, "Sides of the pictures in pixels")
      ->delimiter(',')
      ->check(CLI::Range(16, 4096))
      ->capture_default_str();
  command->add_option("--frames", flags->frames, "Frames of a run")
      ->check(CLI::Range(2, 10'000))
      ->capture_default_str();
  command->add_option("--repeats", flags->repeats, "Runs of each kind, in turn")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command
      ->add_option("--decode-ms", flags->decode_ms,
                   "Processor time that stands for decoding a latent before each picture")
      ->check(CLI::Range(0.0, 1000.0))
      ->capture_default_str();
  subcommands.push_back({command, [flags](Report& report) { return Run(*flags, report); }});
}

}  // namespace reenact::bench
