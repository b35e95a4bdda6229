// The noise schedule of a diffusion process and its respacing (Ho et al. 2020; Nichol & Dhariwal
// 2021; facebookresearch/DiT@ed81ce2, diffusion/).
//
// alpha_bar_i = prod_{k<=i} (1 - beta_k): x_i = sqrt(alpha_bar_i) x_0 + sqrt(1 - alpha_bar_i)
// noise. A respaced process keeps some of the N training steps. Index i = 0..size()-1 counts the
// kept steps (0 is the least noisy), timestep(i) = 0..N-1 is what the network was trained with.
//
// Immutable after Create, so thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace reenact {

// "linear", the schedule of DiT, with sqrt(alpha_bar) shifted and scaled so that its last value is
// 0 and its first stays (Lin et al. 2023, "Common diffusion noise schedules and sample steps are
// flawed"): the last step is pure noise in training as it is in sampling. A network that predicts
// the noise learns nothing there, so this goes with the predictions v and x0 only.
inline constexpr char kLinearZeroTerminalSnr[] = "linear-zero-terminal-snr";

class Schedule {
 public:
  // `name`: "linear", beta from 1e-4 to 0.02 (for 1000 steps, scaled for others), or
  // kLinearZeroTerminalSnr.
  // `respacing`: "" keeps all steps; "50" spreads 50 evenly, the first and the last among them;
  // "10,15,20" spreads counts over equal sections; "ddim25" takes every n-th step so that there are
  // exactly 25; "trailing50" keeps every (N / 50)-th counted from the last (trailing4 of 1000: 249,
  // 499, 749, 999; Lin et al. 2023, section 3.3), since the clean end wants no step of its own.
  // With a zero terminal SNR "50" means "trailing50".
  // kInvalidArgument: unknown name, counts that do not fit, fewer than two steps kept (the
  // posterior of the last step borrows the variance of the one before), or a zero terminal SNR
  // without its last step, where sampling begins.
  static absl::StatusOr<Schedule> Create(const std::string& name, int num_train_steps,
                                         const std::string& respacing);

  // Whether the last step is pure noise: alpha(size() - 1) is 0.
  bool zero_terminal_snr() const { return alphas_cumprod_.back() == 0; }

  int size() const { return static_cast<int>(betas_.size()); }
  int num_train_steps() const { return num_train_steps_; }

  // The training step of kept step `i`.
  int64_t timestep(int i) const { return timesteps_.at(i); }
  const std::vector<int64_t>& timesteps() const { return timesteps_; }

  // Tables indexed by kept step, in double.
  const std::vector<double>& betas() const { return betas_; }
  const std::vector<double>& alphas_cumprod() const { return alphas_cumprod_; }
  // alpha_bar of the kept step before (1 at 0) and after (0 at the last).
  const std::vector<double>& alphas_cumprod_prev() const { return alphas_cumprod_prev_; }
  const std::vector<double>& alphas_cumprod_next() const { return alphas_cumprod_next_; }
  // q(x_{i-1} | x_i, x_0): variance, its logarithm (element 0 replaced by element 1), and the mean
  // coef1 * x_0 + coef2 * x_i.
  const std::vector<double>& posterior_variance() const { return posterior_variance_; }
  const std::vector<double>& posterior_log_variance_clipped() const {
    return posterior_log_variance_clipped_;
  }
  const std::vector<double>& posterior_mean_coef1() const { return posterior_mean_coef1_; }
  const std::vector<double>& posterior_mean_coef2() const { return posterior_mean_coef2_; }

  // x_i = alpha(i) x_0 + sigma(i) noise.
  double alpha(int i) const;
  double sigma(int i) const;

 private:
  Schedule(std::vector<double> betas, std::vector<int64_t> timesteps, int num_train_steps);

  int num_train_steps_;
  std::vector<int64_t> timesteps_;
  std::vector<double> betas_, alphas_cumprod_, alphas_cumprod_prev_, alphas_cumprod_next_;
  std::vector<double> posterior_variance_, posterior_log_variance_clipped_;
  std::vector<double> posterior_mean_coef1_, posterior_mean_coef2_;
};

}  // namespace reenact
