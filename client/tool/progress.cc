#include "client/tool/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace reenact::tool {
namespace {

constexpr int kBarWidth = 24;
constexpr absl::Duration kRedraw = absl::Milliseconds(100);
constexpr absl::Duration kLiveLine = absl::Seconds(5);

// How much of the work is done. Denoising is nearly all of it; frames leave during and after it.
double Fraction(const ProgressState& state) {
  double done = 0;
  double total = 0;
  if (state.total_steps > 0) {
    done += 0.9 * static_cast<double>(state.steps_done) / static_cast<double>(state.total_steps);
    total += 0.9;
  }
  if (state.total_frames > 0) {
    done += 0.1 * static_cast<double>(state.frames_done) / static_cast<double>(state.total_frames);
    total += 0.1;
  }
  return total > 0 ? done / total : 0;
}

// Columns of the terminal behind `out`; a line that wraps could not be redrawn.
size_t Columns(std::FILE* out) {
  winsize size = {};
  if (ioctl(fileno(out), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

std::string Clock(absl::Duration duration) {
  const int64_t seconds =
      std::max<int64_t>(0, static_cast<int64_t>(std::ceil(absl::ToDoubleSeconds(duration))));
  if (seconds >= 3600) {
    return absl::StrFormat("%d:%02d:%02d", seconds / 3600, seconds / 60 % 60, seconds % 60);
  }
  return absl::StrFormat("%d:%02d", seconds / 60, seconds % 60);
}

}  // namespace

std::string Describe(const LiveProgress& live) {
  std::string text = absl::StrFormat("lag %.2f s", live.lag_seconds);
  if (live.real_time_ratio > 0) {
    absl::StrAppendFormat(&text, "  %.2fx real time", live.real_time_ratio);
  }
  absl::StrAppend(&text, "  ", live.frames_skipped, " skipped");
  return text;
}

std::string Describe(const ProgressState& state) {
  std::string text = state.stage;
  if (state.total_steps > 0 && !state.live.has_value()) {
    absl::StrAppend(&text, "  step ", state.steps_done, "/", state.total_steps);
  }
  if (state.total_frames > 0) {
    absl::StrAppend(&text, "  frames ", state.frames_done, "/", state.total_frames);
  }
  if (state.time_left.has_value()) absl::StrAppend(&text, "  ", Clock(*state.time_left), " left");
  if (state.live.has_value()) absl::StrAppend(&text, "  ", Describe(*state.live));
  return text;
}

std::string Bar(double fraction, int width) {
  const double clamped = std::isfinite(fraction) ? std::clamp(fraction, 0.0, 1.0) : 0.0;
  const int filled = static_cast<int>(clamped * width);
  return absl::StrCat("[", std::string(static_cast<size_t>(filled), '#'),
                      std::string(static_cast<size_t>(width - filled), '.'), "]");
}

Progress::Style Progress::StyleFor(std::FILE* out, bool quiet) {
  if (quiet) return Style::kNone;
  return isatty(fileno(out)) != 0 ? Style::kBar : Style::kLines;
}

void Progress::Update(const ProgressState& state) {
  if (style_ == Style::kNone) return;
  const double fraction = Fraction(state);
  const int tenth = static_cast<int>(fraction * 10);
  const bool stage_changed = state.stage != last_stage_;
  if (style_ == Style::kBar) {
    const absl::Time now = absl::Now();
    if (!stage_changed && (fraction < 1 || state.live.has_value()) && now - last_drawn_ < kRedraw)
      return;
    last_drawn_ = now;
    const std::string bar = state.live.has_value()
                                ? ""
                                : absl::StrFormat("%s %3d%%  ", Bar(fraction, kBarWidth),
                                                  static_cast<int>(fraction * 100));
    const std::string line = absl::StrCat(bar, Describe(state)).substr(0, Columns(out_) - 1);
    // Back to the first column, the line, then clear what is left of a longer one.
    absl::FPrintF(out_, "\r%s\x1b[K", line);
    line_open_ = true;
  } else {
    const absl::Time now = absl::Now();
    const bool due = state.live.has_value() ? now - last_drawn_ >= kLiveLine : tenth != last_tenth_;
    if (!stage_changed && !due) return;
    last_drawn_ = now;
    absl::FPrintF(out_, "reenact: %s\n", Describe(state));
  }
  std::fflush(out_);
  last_stage_ = state.stage;
  last_tenth_ = tenth;
}

void Progress::Say(const std::string& line) {
  if (style_ == Style::kNone) return;
  Finish();
  absl::FPrintF(out_, "reenact: %s\n", line);
  std::fflush(out_);
}

void Progress::Finish() {
  if (!line_open_) return;
  absl::FPrintF(out_, "\r\x1b[K");
  std::fflush(out_);
  line_open_ = false;
}

}  // namespace reenact::tool
