#include "pipeline/diffusion/schedule.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace reenact {
namespace {

absl::Status Invalid(const std::string& problem) {
  return absl::InvalidArgumentError(absl::StrCat("schedule: ", problem));
}

std::vector<double> LinearBetas(int num_steps) {
  // Ho et al. chose the ends for 1000 steps; for others they are scaled to the same total.
  const double scale = 1000.0 / num_steps;
  const double first = scale * 0.0001, last = scale * 0.02;
  std::vector<double> betas(num_steps);
  const double stride = (last - first) / std::max(num_steps - 1, 1);
  for (int i = 0; i < num_steps; ++i) betas[i] = first + i * stride;
  if (num_steps > 1) betas.back() = last;
  return betas;
}

absl::StatusOr<int> PositiveInt(std::string_view text, const std::string& respacing) {
  int value = 0;
  if (!absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &value) || value < 1) {
    return Invalid(absl::StrCat("\"", respacing, "\" is not a respacing"));
  }
  return value;
}

constexpr std::string_view kTrailing = "trailing";

absl::StatusOr<std::set<int>> FixedStride(const std::string& respacing, int num_steps) {
  const auto count = PositiveInt(std::string_view(respacing).substr(4), respacing);
  if (!count.ok()) return count.status();
  for (int stride = 1; stride < num_steps; ++stride) {
    if ((num_steps + stride - 1) / stride != *count) continue;
    std::set<int> kept;
    for (int step = 0; step < num_steps; step += stride) kept.insert(step);
    return kept;
  }
  return Invalid(absl::StrCat("no stride takes exactly ", *count, " of ", num_steps, " steps"));
}

absl::StatusOr<std::set<int>> Sections(const std::string& respacing, int num_steps) {
  std::vector<int> counts;
  for (const auto part : absl::StrSplit(respacing, ',')) {
    const auto count = PositiveInt(std::string_view(part.data(), part.size()), respacing);
    if (!count.ok()) return count.status();
    counts.push_back(*count);
  }
  const int num_sections = static_cast<int>(counts.size());
  std::set<int> kept;
  int start = 0;
  for (int section = 0; section < num_sections; ++section) {
    const int size = num_steps / num_sections + (section < num_steps % num_sections ? 1 : 0);
    const int count = counts[section];
    if (size < count) {
      return Invalid(absl::StrCat("cannot keep ", count, " of the ", size, " steps of a section"));
    }
    const double stride = count > 1 ? (size - 1.0) / (count - 1.0) : 1.0;
    // As the reference: the position is accumulated, and halves are rounded to even (nearbyint in
    // the default mode). Multiplying or rounding halves up gives other steps for some counts.
    double position = 0;
    for (int i = 0; i < count; ++i) {
      kept.insert(start + static_cast<int>(std::nearbyint(position)));
      position += stride;
    }
    start += size;
  }
  return kept;
}

absl::StatusOr<std::set<int>> Trailing(std::string_view number, const std::string& respacing,
                                       int num_steps) {
  const auto count = PositiveInt(number, respacing);
  if (!count.ok()) return count.status();
  if (*count > num_steps) {
    return Invalid(absl::StrCat("cannot keep ", *count, " of ", num_steps, " steps"));
  }
  std::set<int> kept;
  for (int k = 1; k <= *count; ++k) {
    const double position = static_cast<double>(num_steps) * k / *count;
    kept.insert(static_cast<int>(std::nearbyint(position)) - 1);
  }
  return kept;
}

absl::StatusOr<std::set<int>> KeptSteps(const std::string& respacing, int num_steps,
                                        bool zero_terminal_snr) {
  if (respacing.starts_with("ddim")) return FixedStride(respacing, num_steps);
  if (respacing.starts_with(kTrailing)) {
    return Trailing(std::string_view(respacing).substr(kTrailing.size()), respacing, num_steps);
  }
  if (zero_terminal_snr && !absl::StrContains(respacing, ',')) {
    return Trailing(respacing, respacing, num_steps);
  }
  return Sections(respacing, num_steps);
}

// Lin et al. 2023, algorithm 1.
void RescaleToZeroTerminalSnr(std::vector<double>& alpha_bars) {
  const double first = std::sqrt(alpha_bars.front()), last = std::sqrt(alpha_bars.back());
  for (double& alpha_bar : alpha_bars) {
    const double alpha = (std::sqrt(alpha_bar) - last) * (first / (first - last));
    alpha_bar = alpha * alpha;
  }
}

}  // namespace

absl::StatusOr<Schedule> Schedule::Create(const std::string& name, int num_train_steps,
                                          const std::string& respacing) {
  const bool zero_terminal_snr = name == kLinearZeroTerminalSnr;
  if (name != "linear" && !zero_terminal_snr)
    return Invalid(absl::StrCat("there is no \"", name, "\""));
  // Scaled to 20 steps or fewer, the last beta would reach 1.
  if (num_train_steps <= 20 || num_train_steps > 1'000'000) {
    return Invalid("num_train_steps must be from 21 to 1,000,000");
  }

  std::set<int> kept;
  if (respacing.empty()) {
    for (int step = 0; step < num_train_steps; ++step) kept.insert(step);
  } else {
    auto steps = KeptSteps(respacing, num_train_steps, zero_terminal_snr);
    if (!steps.ok()) return steps.status();
    kept = *std::move(steps);
  }
  if (kept.size() < 2) return Invalid("at least two steps must be kept");
  if (zero_terminal_snr && !kept.contains(num_train_steps - 1)) {
    return Invalid(absl::StrCat("\"", respacing, "\" leaves out the last step, which is where ",
                                "sampling begins with a zero terminal SNR"));
  }

  const std::vector<double> all = LinearBetas(num_train_steps);
  std::vector<double> alpha_bars;
  double alpha_bar = 1;
  for (const double beta : all) alpha_bars.push_back(alpha_bar *= 1.0 - beta);
  if (zero_terminal_snr) RescaleToZeroTerminalSnr(alpha_bars);

  std::vector<double> betas;
  std::vector<int64_t> timesteps;
  double last_kept = 1;
  for (const int step : kept) {
    betas.push_back(1.0 - alpha_bars[step] / last_kept);
    timesteps.push_back(step);
    last_kept = alpha_bars[step];
  }
  if (respacing.empty() && !zero_terminal_snr) {
    betas = all;  // without the rounding of a product and a quotient
  }
  return Schedule(std::move(betas), std::move(timesteps), num_train_steps);
}

Schedule::Schedule(std::vector<double> betas, std::vector<int64_t> timesteps, int num_train_steps)
    : num_train_steps_(num_train_steps),
      timesteps_(std::move(timesteps)),
      betas_(std::move(betas)) {
  double alpha_bar = 1;
  for (const double beta : betas_) {
    alphas_cumprod_prev_.push_back(alpha_bar);
    alpha_bar *= 1.0 - beta;
    alphas_cumprod_.push_back(alpha_bar);
  }
  alphas_cumprod_next_.assign(alphas_cumprod_.begin() + 1, alphas_cumprod_.end());
  alphas_cumprod_next_.push_back(0.0);
  for (size_t i = 0; i < betas_.size(); ++i) {
    const double beta = betas_[i], now = alphas_cumprod_[i], before = alphas_cumprod_prev_[i];
    posterior_variance_.push_back(beta * (1.0 - before) / (1.0 - now));
    posterior_mean_coef1_.push_back(beta * std::sqrt(before) / (1.0 - now));
    posterior_mean_coef2_.push_back((1.0 - before) * std::sqrt(1.0 - beta) / (1.0 - now));
  }
  // The variance at 0 is 0.
  posterior_log_variance_clipped_.push_back(std::log(posterior_variance_[1]));
  for (size_t i = 1; i < betas_.size(); ++i) {
    posterior_log_variance_clipped_.push_back(std::log(posterior_variance_[i]));
  }
}

double Schedule::alpha(int i) const { return std::sqrt(alphas_cumprod_.at(i)); }
double Schedule::sigma(int i) const { return std::sqrt(1.0 - alphas_cumprod_.at(i)); }

}  // namespace reenact
