// Shows a person how far a job is: one line that redraws itself on a terminal, single lines
// elsewhere.
//
// Thread-compatible.
#pragma once

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>

#include "absl/time/time.h"

namespace reenact::tool {

// How a live job keeps up.
struct LiveProgress {
  double lag_seconds = 0;
  double real_time_ratio = 0;  // 0: not known yet
  int64_t frames_skipped = 0;
};

struct ProgressState {
  std::string stage;  // one word
  int64_t steps_done = 0;
  int64_t total_steps = 0;  // 0: not known yet
  int64_t frames_done = 0;
  int64_t total_frames = 0;  // 0: not known yet
  std::optional<absl::Duration> time_left;
  std::optional<LiveProgress> live;  // of a live job, which has no end to come nearer to
};

// What is shown, without the bar, such as "denoising  step 12/50  frames 3/216  0:41 left" or
// "live  frames 120/128  lag 0.41 s  1.02x real time  3 skipped".
std::string Describe(const ProgressState& state);
// Lag, ratio and skipped frames alone.
std::string Describe(const LiveProgress& live);

// `fraction` (clamped to 0..1) as `width` characters between brackets.
std::string Bar(double fraction, int width);

class Progress {
 public:
  enum class Style {
    kNone,   // nothing at all
    kLines,  // a line when the stage changes and at every tenth of its work, or, live, every 5 s
    kBar,    // one line, redrawn ten times a second at most
  };

  // kBar on a terminal, else kLines; kNone if `quiet`.
  static Style StyleFor(std::FILE* out, bool quiet);

  // `out` must outlive the object.
  Progress(std::FILE* out, Style style) : out_(out), style_(style) {}
  ~Progress() { Finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Update(const ProgressState& state);

  // A line of its own, such as "waiting: 2 jobs ahead". Not shown if the style is kNone.
  void Say(const std::string& line);

  // Takes the redrawn line away, so that what follows begins on a clean line.
  void Finish();

 private:
  std::FILE* const out_;
  const Style style_;
  std::string last_stage_;
  int last_tenth_ = -1;
  absl::Time last_drawn_ = absl::InfinitePast();
  bool line_open_ = false;
};

}  // namespace reenact::tool
