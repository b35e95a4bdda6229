#include <cmath>

#include "gmock/gmock.h"
#include "pipeline/diffusion/losses.h"
#include "pipeline/diffusion/noise.h"
#include "pipeline/diffusion/samplers.h"
#include "pipeline/diffusion/schedule.h"
#include "tests/pipeline/weights/golden.h"

namespace reenact {
namespace {

using ::testing::AllOf;
using ::testing::Gt;
using ::testing::Lt;

using ::testing::ElementsAre;
using testing::Near;
using torch::Tensor;

Schedule MakeSchedule(const std::string& respacing) {
  return *Schedule::Create("linear", 1000, respacing);
}

Schedule MakeZeroTerminalSnr(const std::string& respacing) {
  return *Schedule::Create(kLinearZeroTerminalSnr, 1000, respacing);
}

// The published known-answer vectors of philox4x32, 10 rounds (Random123, kat_vectors): all zeros,
// all ones, and digits of pi.
TEST(PhiloxTest, KnownAnswers) {
  EXPECT_THAT(Philox4x32({0, 0, 0, 0}, {0, 0}),
              ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  EXPECT_THAT(
      Philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
      ElementsAre(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  EXPECT_THAT(
      Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
      ElementsAre(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST(FrameNoiseTest, IsStandardNormal) {
  const Tensor noise = FrameNoise(7, 3, 0, {1000, 1000}).to(torch::kFloat64);

  // Standard errors for a million values: 1e-3 for the mean, 7e-4 for the deviation, 2.4e-3
  // and 4.9e-3 for the standardised third and fourth moments. Five of each are allowed.
  EXPECT_NEAR(noise.mean().item<double>(), 0, 5e-3);
  EXPECT_NEAR(noise.std().item<double>(), 1, 3.5e-3);
  EXPECT_NEAR(noise.pow(3).mean().item<double>(), 0, 2e-2);
  EXPECT_NEAR(noise.pow(4).mean().item<double>(), 3, 5e-2);
  // Neighbours, which share an angle or a block, are uncorrelated.
  const Tensor flat = noise.flatten();
  for (int64_t lag : {1, 2, 3, 4}) {
    const Tensor product = flat.slice(0, lag) * flat.slice(0, 0, flat.numel() - lag);
    EXPECT_NEAR(product.mean().item<double>(), 0, 5e-3) << lag;
  }
}

TEST(FrameNoiseTest, DependsOnEveryArgumentAndNothingElse) {
  const auto noise = [](uint64_t seed, uint64_t frame, uint64_t step) {
    return FrameNoise(seed, frame, step, {4, 8, 8});
  };
  const Tensor base = noise(1, 2, 3);

  EXPECT_TRUE(torch::equal(noise(1, 2, 3), base));
  // The high words of seed and frame count too.
  for (const Tensor& other :
       {noise(2, 2, 3), noise(1, 3, 3), noise(1, 2, 4), noise(1 + (uint64_t{1} << 32), 2, 3),
        noise(1, 2 + (uint64_t{1} << 32), 3)}) {
    EXPECT_LT((other * base).mean().abs().item<double>(), 0.4);
    EXPECT_FALSE(torch::equal(other, base));
  }
  // A longer shape begins with the shorter one's values, whatever the remainder by 4.
  EXPECT_TRUE(torch::equal(FrameNoise(1, 2, 3, {6}), base.flatten().slice(0, 0, 6)));
  EXPECT_EQ(FrameNoise(1, 2, 3, {0}).numel(), 0);
}

TEST(ScheduleTest, PublishedValues) {
  const Schedule full = MakeSchedule("");
  EXPECT_NEAR(full.alphas_cumprod()[0], 0.9999, 1e-15);
  EXPECT_NEAR(full.alphas_cumprod()[499], 0.07858724288177824, 1e-14);
  EXPECT_NEAR(full.alphas_cumprod()[999], 4.035829765375676e-05, 1e-17);
  EXPECT_THAT(MakeSchedule("7").timesteps(), ElementsAre(0, 166, 333, 500, 666, 832, 999));
  EXPECT_THAT(MakeSchedule("4,2").timesteps(), ElementsAre(0, 166, 333, 499, 500, 999));
  EXPECT_THAT(MakeSchedule("ddim4").timesteps(), ElementsAre(0, 250, 500, 750));
  EXPECT_THAT(MakeSchedule("trailing4").timesteps(), ElementsAre(249, 499, 749, 999));
  EXPECT_NEAR(MakeSchedule("250").betas()[249], 0.07751934499235003, 1e-14);
}

TEST(ScheduleTest, RefusesWhatMakesNoSense) {
  for (const char* respacing : {"0",
                                "-5",
                                "1001",
                                "1",
                                "600,600",
                                "ddim0",
                                "ddim1",
                                "ddim501",
                                "x",
                                "5,",
                                ",",
                                "10 steps",
                                "99999999999999999999",
                                "ddim",
                                "5.0",
                                "trailing",
                                "trailing0",
                                "trailing1",
                                "trailing1001",
                                "trailing4,4"}) {
    EXPECT_EQ(Schedule::Create("linear", 1000, respacing).status().code(),
              absl::StatusCode::kInvalidArgument)
        << respacing;
  }
  EXPECT_FALSE(Schedule::Create("cosine", 1000, "").ok());
  EXPECT_FALSE(Schedule::Create("linear", 20, "").ok());
  EXPECT_FALSE(Schedule::Create("linear", -1, "").ok());
}

TEST(ZeroTerminalSnrTest, HandComputedValues) {
  // sqrt(alpha_bar) of "linear", shifted by its last and scaled so that the first stays, in 50
  // decimal digits.
  const Schedule full = MakeZeroTerminalSnr("");
  ASSERT_EQ(full.size(), 1000);
  EXPECT_NEAR(full.alphas_cumprod()[0], 0.9999, 1e-15);
  EXPECT_NEAR(full.alphas_cumprod()[249], 0.52153334069877007, 1e-14);
  EXPECT_NEAR(full.alphas_cumprod()[499], 0.076028750547114725, 1e-14);
  EXPECT_NEAR(full.alphas_cumprod()[998], 4.2132624650880561e-9, 1e-19);
  EXPECT_EQ(full.alphas_cumprod()[999], 0);
  EXPECT_NEAR(full.betas()[1], 0.00012068663551061711, 1e-15);
  EXPECT_NEAR(full.betas()[998], 0.75226723115046899, 1e-9);
  EXPECT_EQ(full.betas()[999], 1);
  EXPECT_TRUE(full.zero_terminal_snr());
  EXPECT_FALSE(MakeSchedule("").zero_terminal_snr());
}

TEST(ZeroTerminalSnrTest, ShiftsAndScalesTheAmplitudes) {
  const Schedule plain = MakeSchedule(""), zero = MakeZeroTerminalSnr("");
  EXPECT_EQ(zero.alpha(999), 0);
  EXPECT_EQ(zero.sigma(999), 1);
  const double slope = zero.alpha(0) / (plain.alpha(0) - plain.alpha(999));
  for (int i = 0; i < 1000; ++i) {
    EXPECT_NEAR(zero.alpha(i), slope * (plain.alpha(i) - plain.alpha(999)), 1e-12) << i;
    if (i > 0) {
      EXPECT_LT(zero.alphas_cumprod()[static_cast<size_t>(i)],
                zero.alphas_cumprod()[static_cast<size_t>(i) - 1]);
    }
  }
}

TEST(ZeroTerminalSnrTest, TablesAreFiniteForEveryNumberOfSteps) {
  for (const char* respacing : {"", "2", "3", "4", "8", "25", "100", "999", "1000", "4,2"}) {
    const Schedule schedule = MakeZeroTerminalSnr(respacing);
    EXPECT_TRUE(schedule.zero_terminal_snr()) << respacing;
    EXPECT_EQ(schedule.timesteps().back(), 999) << respacing;
    for (const auto& table : {schedule.betas(), schedule.posterior_variance(),
                              schedule.posterior_log_variance_clipped(),
                              schedule.posterior_mean_coef1(), schedule.posterior_mean_coef2()}) {
      for (const double value : table) EXPECT_TRUE(std::isfinite(value)) << respacing;
    }
    // From pure noise the posterior is what the step before is made of.
    const double before = schedule.alphas_cumprod_prev().back();
    EXPECT_EQ(schedule.posterior_mean_coef1().back(), std::sqrt(before)) << respacing;
    EXPECT_EQ(schedule.posterior_mean_coef2().back(), 0) << respacing;
    EXPECT_EQ(schedule.posterior_variance().back(), 1 - before) << respacing;
  }
}

TEST(ZeroTerminalSnrTest, StepsTrail) {
  EXPECT_THAT(MakeZeroTerminalSnr("2").timesteps(), ElementsAre(499, 999));
  EXPECT_THAT(MakeZeroTerminalSnr("3").timesteps(), ElementsAre(332, 666, 999));
  EXPECT_THAT(MakeZeroTerminalSnr("4").timesteps(), ElementsAre(249, 499, 749, 999));
  // 142.9, 285.7, 428.6, 571.4, 714.3, 857.1, 1000, rounded and one less.
  EXPECT_THAT(MakeZeroTerminalSnr("7").timesteps(), ElementsAre(142, 285, 428, 570, 713, 856, 999));
  EXPECT_EQ(MakeZeroTerminalSnr("1000").timesteps(), MakeZeroTerminalSnr("").timesteps());
  EXPECT_EQ(MakeZeroTerminalSnr("trailing7").timesteps(), MakeZeroTerminalSnr("7").timesteps());
  for (int steps = 2; steps <= 1000; ++steps) {
    EXPECT_EQ(MakeZeroTerminalSnr(std::to_string(steps)).size(), steps);
  }
}

TEST(ZeroTerminalSnrTest, RefusesToBeginBelowTheLastStep) {
  for (const char* respacing : {"ddim4", "ddim25", "4,1", "1", "0", "1001", "x"}) {
    EXPECT_EQ(Schedule::Create(kLinearZeroTerminalSnr, 1000, respacing).status().code(),
              absl::StatusCode::kInvalidArgument)
        << respacing;
  }
}

TEST(ZeroTerminalSnrTest, FirstStepOfEverySamplerByHand) {
  // 999 -> 749 of four steps, where alpha = 0.0518605987 and sigma = 0.9986543341. The network says
  // v = -0.5 (x_0 = 0.5) at x = 2, and the noise drawn is 0.3.
  const Schedule schedule = MakeZeroTerminalSnr("4");
  const auto number = [](double value) { return torch::full({1, 1, 1}, value, torch::kFloat64); };
  const Tensor x = number(2), v = number(-0.5), x0 = number(0.5), noise = number(0.3);
  const auto value = [](const Tensor& tensor) { return tensor.item<double>(); };
  const double kDdim = 2.0232389668439639, kAncestral = 0.32552659948392535;

  for (const auto& [prediction, output] :
       {std::pair{Prediction::kV, v}, std::pair{Prediction::kX0, x0}}) {
    EXPECT_NEAR(value(PredictX0(schedule, 3, x, output, prediction)), 0.5, 1e-15);
    EXPECT_NEAR(value(DdimStep(schedule, 3, x, output, prediction, 0, {})), kDdim, 1e-12);
    EXPECT_NEAR(value(DdimStep(schedule, 3, x, output, prediction, 0.5, noise)), 1.9054484946613486,
                1e-12);
    EXPECT_NEAR(value(DdimStep(schedule, 3, x, output, prediction, 1, noise)), kAncestral, 1e-12);
    EXPECT_NEAR(value(DdpmStep(schedule, 3, x, output, prediction, noise)), kAncestral, 1e-12);
    EXPECT_NEAR(value(DdpmStep(schedule, 3, x, output, prediction, noise, FixedVariance::kLarge)),
                0.32593029936156561, 1e-12);
    const Tensor with_variance = torch::cat({output, number(0)});
    EXPECT_NEAR(value(DdpmStep(schedule, 3, x, with_variance, prediction, noise)),
                0.32572838147134533, 1e-12);
  }
  // The multistep solver has no slope to go by after the first step, though it was given one.
  const Tensor x2 = DpmSolverStep(schedule, 3, x, x0, {});
  EXPECT_NEAR(value(x2), kDdim, 1e-12);
  EXPECT_NEAR(value(DpmSolverStep(schedule, 2, x2, number(-0.25), x0)), 1.8909732022121336, 1e-12);
}

TEST(ZeroTerminalSnrTest, NoiseCannotBePredictedFromPureNoise) {
  const Schedule schedule = MakeZeroTerminalSnr("4");
  const Tensor x = torch::ones({1, 2, 2});

  EXPECT_THROW(PredictX0(schedule, 3, x, x, Prediction::kEpsilon), c10::Error);
  EXPECT_TRUE(PredictX0(schedule, 2, x, x, Prediction::kEpsilon).isfinite().all().item<bool>());
}

TEST(ZeroTerminalSnrTest, TrainingSeesPureNoiseAtTheLastStep) {
  const Schedule schedule = MakeZeroTerminalSnr("");
  const Tensor x0 = FrameNoise(1, 0, 0, {2, 4, 3, 3}), noise = FrameNoise(2, 0, 0, x0.sizes());
  const Tensor last = torch::full({2}, 999, torch::kInt64);
  const Tensor output = FrameNoise(3, 0, 0, {2, 8, 3, 3});

  const Tensor x_t = AddNoise(schedule, x0, last, noise);

  EXPECT_TRUE(torch::equal(x_t, noise));
  EXPECT_TRUE(torch::equal(PredictionTarget(schedule, x0, last, noise, Prediction::kV), -x0));
  for (const Prediction prediction : {Prediction::kV, Prediction::kX0}) {
    const DiffusionLoss loss =
        ComputeDiffusionLoss(schedule, prediction, x0, x_t, last, noise, output);
    EXPECT_TRUE(loss.loss.isfinite().all().item<bool>());
    EXPECT_GT(loss.mse.min().item<double>(), 0);
  }
}

class PredictionTest : public ::testing::TestWithParam<Prediction> {};

// Whatever the network predicts, a perfect answer leads to the true x_0 and noise, and DDIM from
// any step follows the straight path between them.
TEST_P(PredictionTest, PerfectAnswerRecoversBoth) {
  const Schedule schedule = MakeSchedule("50");
  const Tensor x0 = FrameNoise(1, 0, 0, {2, 3, 4, 8, 8}), noise = FrameNoise(2, 0, 0, x0.sizes());
  for (int i : {1, 10, 30}) {
    const Tensor t = torch::full({2}, i, torch::kInt64);
    const Tensor x = AddNoise(schedule, x0, t, noise);
    const Tensor perfect = PredictionTarget(schedule, x0, t, noise, GetParam());

    const Denoised denoised = PredictDenoised(schedule, i, x, perfect, GetParam());
    const Tensor previous = DdimStep(schedule, i, x, perfect, GetParam(), 0.0, {});

    EXPECT_TRUE(Near(denoised.x0, x0, 2e-5)) << i;
    EXPECT_TRUE(Near(denoised.epsilon, noise, 2e-5)) << i;
    EXPECT_TRUE(Near(previous, AddNoise(schedule, x0, t - 1, noise), 2e-5)) << i;
    EXPECT_TRUE(
        Near(DdimReverseStep(schedule, i - 1, previous,
                             PredictionTarget(schedule, x0, t - 1, noise, GetParam()), GetParam()),
             x, 2e-5))
        << i;
  }
}

TEST_P(PredictionTest, PerfectAnswerCostsNothing) {
  const Schedule schedule = MakeSchedule("");
  const Tensor x0 = FrameNoise(1, 0, 0, {3, 2, 4, 8, 8}), noise = FrameNoise(2, 0, 0, x0.sizes());
  const Tensor t = torch::tensor({20, 400, 999});
  const Tensor x_t = AddNoise(schedule, x0, t, noise);
  const Tensor perfect = PredictionTarget(schedule, x0, t, noise, GetParam());

  const auto loss = ComputeDiffusionLoss(schedule, GetParam(), x0, x_t, t, noise, perfect);

  EXPECT_EQ(loss.mse.abs().max().item<double>(), 0);
  EXPECT_EQ(loss.vb.abs().max().item<double>(), 0);

  // The lower end of the variance's range is the true posterior's variance: no divergence there.
  const auto learned =
      ComputeDiffusionLoss(schedule, GetParam(), x0, x_t, t, noise,
                           torch::cat({perfect, torch::full_like(perfect, -1.0)}, 2));
  EXPECT_LT(learned.vb.abs().max().item<double>(), 1e-4);
}

TEST_P(PredictionTest, NameGoesBothWays) {
  EXPECT_EQ(*PredictionFromName(PredictionName(GetParam())), GetParam());
  EXPECT_FALSE(PredictionFromName("noise").ok());
}

INSTANTIATE_TEST_SUITE_P(All, PredictionTest,
                         ::testing::Values(Prediction::kEpsilon, Prediction::kV, Prediction::kX0));

TEST(SamplersTest, FixedVarianceIsAnEndOfTheLearnedRange) {
  const Schedule schedule = MakeSchedule("10");
  const Tensor x = FrameNoise(1, 0, 0, {1, 2, 4, 4, 4}), z = FrameNoise(2, 0, 0, x.sizes());
  const Tensor eps = FrameNoise(3, 0, 0, x.sizes());
  const auto learned = [&](double v) {
    return DdpmStep(schedule, 5, x, torch::cat({eps, torch::full_like(eps, v)}, 2),
                    Prediction::kEpsilon, z);
  };
  const auto fixed = [&](FixedVariance variance) {
    return DdpmStep(schedule, 5, x, eps, Prediction::kEpsilon, z, variance);
  };

  EXPECT_TRUE(Near(fixed(FixedVariance::kSmall), learned(-1), 1e-6));
  EXPECT_TRUE(Near(fixed(FixedVariance::kLarge), learned(1), 1e-6));
  EXPECT_FALSE(Near(fixed(FixedVariance::kLarge), learned(-1), 1e-3));
}

TEST(SamplersTest, NoiseIsNotReadWhereItIsNotUsed) {
  const Schedule schedule = MakeSchedule("10");
  const Tensor x = FrameNoise(1, 0, 0, {1, 4, 4, 4});

  EXPECT_TRUE(DdimStep(schedule, 3, x, x, Prediction::kV, 0.0, {}).defined());
  EXPECT_TRUE(DdimStep(schedule, 0, x, x, Prediction::kV, 1.0, {}).defined());
  EXPECT_TRUE(DdpmStep(schedule, 0, x, x, Prediction::kV, {}).defined());
}

// A half-precision network does not make the latents half-precise.
TEST(SamplersTest, LatentsStayFloat32) {
  const Schedule schedule = MakeSchedule("10");
  const Tensor x = FrameNoise(1, 0, 0, {1, 4, 4, 4}), output = x.to(torch::kBFloat16);

  EXPECT_EQ(DdimStep(schedule, 3, x, output, Prediction::kV, 0.5, x).scalar_type(),
            torch::kFloat32);
  EXPECT_EQ(DdpmStep(schedule, 3, x, output, Prediction::kV, x).scalar_type(), torch::kFloat32);
}

TEST(LossesTest, WeightMultipliesTheSquaredErrorOnly) {
  const Schedule schedule = MakeSchedule("");
  const Tensor x0 = FrameNoise(1, 0, 0, {2, 3, 4, 4, 4}), noise = FrameNoise(2, 0, 0, x0.sizes());
  const Tensor t = torch::tensor({100, 500});
  const Tensor x_t = AddNoise(schedule, x0, t, noise);
  const Tensor output = FrameNoise(3, 0, 0, {2, 3, 8, 4, 4});
  const auto loss = [&](const Tensor& weight) {
    return ComputeDiffusionLoss(schedule, Prediction::kEpsilon, x0, x_t, t, noise, output, weight);
  };

  const auto plain = loss({});
  const auto doubled = loss(torch::full({2, 3, 1, 4, 4}, 2.0));

  EXPECT_TRUE(Near(doubled.mse, 2 * plain.mse, 1e-6));
  EXPECT_TRUE(Near(doubled.vb, plain.vb, 0));
}

TEST(LossesTest, VariationalTermTrainsTheVarianceOnly) {
  const Schedule schedule = MakeSchedule("");
  const Tensor x0 = FrameNoise(1, 0, 0, {2, 4, 4, 4}), noise = FrameNoise(2, 0, 0, x0.sizes());
  const Tensor t = torch::tensor({0, 500});
  const Tensor x_t = AddNoise(schedule, x0, t, noise);
  const Tensor output = FrameNoise(3, 0, 0, {2, 8, 4, 4}).requires_grad_();

  ComputeDiffusionLoss(schedule, Prediction::kV, x0, x_t, t, noise, output).vb.sum().backward();

  EXPECT_EQ(output.grad().narrow(1, 0, 4).abs().max().item<double>(), 0);
  EXPECT_GT(output.grad().narrow(1, 4, 4)[1].abs().max().item<double>(), 0);
}

// Data N(mean, deviation^2): the best prediction of x_0 and the exact path of the deterministic
// process are known, so a solver's order can be measured.
struct GaussianData {
  double mean = 0.7, deviation = 0.4;

  double Spread(const Schedule& schedule, int i) const {
    const double a = schedule.alpha(i) * deviation, s = schedule.sigma(i);
    return std::sqrt(a * a + s * s);
  }
  torch::Tensor X0(const Schedule& schedule, int i, const torch::Tensor& x) const {
    const double a = schedule.alpha(i), spread = Spread(schedule, i);
    return mean + a * deviation * deviation / (spread * spread) * (x - a * mean);
  }
  // x at step `to` of the path through x at step `from`.
  torch::Tensor Exact(const Schedule& schedule, int from, int to, const torch::Tensor& x) const {
    return schedule.alpha(to) * mean +
           Spread(schedule, to) / Spread(schedule, from) * (x - schedule.alpha(from) * mean);
  }
};

// Largest error at kept step `last`, from the noisiest on.
double SolverError(int num_steps, bool multistep, int last) {
  const GaussianData data;
  // 20,000 training steps: the kept ones lie close to evenly however many there are.
  const auto schedule = Schedule::Create("linear", 20000, std::to_string(num_steps));
  EXPECT_TRUE(schedule.ok()) << schedule.status();
  const torch::Tensor start = torch::linspace(-2, 2, 8, torch::kFloat64).view({8, 1, 1, 1});
  torch::Tensor x = start, previous;
  for (int i = num_steps - 1; i > last; --i) {
    const torch::Tensor x0 = data.X0(*schedule, i, x);
    x = DpmSolverStep(*schedule, i, x, x0, multistep ? previous : torch::Tensor());
    previous = x0;
  }
  return (x - data.Exact(*schedule, num_steps - 1, last, start)).abs().max().item<double>();
}

TEST(DpmSolver, IsOfSecondOrderAndWithoutMemoryOfFirst) {
  // From the noisiest step to a fifth of the way from the end, in four times the steps: about a
  // fourth, and a sixteenth, of the error.
  const double first = SolverError(51, false, 10) / SolverError(201, false, 40);
  const double second = SolverError(51, true, 10) / SolverError(201, true, 40);
  EXPECT_THAT(first, AllOf(Gt(3), Lt(6)));
  EXPECT_THAT(second, AllOf(Gt(11), Lt(24)));
  for (const int num_steps : {5, 10, 20}) {
    EXPECT_LT(SolverError(num_steps, true, 0), SolverError(num_steps, false, 0)) << num_steps;
  }
}

// The flaw that a zero terminal SNR mends: a perfect network, told that zeros are x_T, takes them
// for data a little darker than they are where x_T should still hold some of it.
TEST(ZeroTerminalSnrTest, MeanOfTheDataIsReachedFromZeros) {
  const GaussianData data;
  for (const char* name : {"linear", kLinearZeroTerminalSnr}) {
    const bool zero = std::string(name) == kLinearZeroTerminalSnr;
    for (const char* steps : {"4", "10", "50"}) {
      const auto schedule = Schedule::Create(name, 1000, steps);
      ASSERT_TRUE(schedule.ok());
      Tensor ddim = torch::zeros({1, 1, 1}, torch::kFloat64), dpm = ddim, previous;
      for (int i = schedule->size() - 1; i >= 0; --i) {
        const Tensor answer = data.X0(*schedule, i, ddim);
        ddim = DdimStep(*schedule, i, ddim, answer, Prediction::kX0, 0, {});
        const Tensor x0 = data.X0(*schedule, i, dpm);
        dpm = DpmSolverStep(*schedule, i, dpm, x0, previous);
        previous = x0;
      }
      for (const Tensor& reached : {ddim, dpm}) {
        const double missing = data.mean - reached.item<double>();
        if (zero) {
          EXPECT_NEAR(missing, 0, 1e-12) << steps;
        } else {
          EXPECT_GT(missing, 1e-4) << steps;
        }
      }
    }
  }
}

TEST(DpmSolver, BeginsAsDdimAndEndsInX0) {
  const auto schedule = Schedule::Create("linear", 1000, "10");
  ASSERT_TRUE(schedule.ok());
  torch::manual_seed(2);
  const torch::Tensor x = torch::randn({2, 4, 3, 3}), out = torch::randn({2, 4, 3, 3});
  for (const Prediction prediction : {Prediction::kEpsilon, Prediction::kV, Prediction::kX0}) {
    const torch::Tensor x0 = PredictX0(*schedule, 6, x, out, prediction);
    const torch::Tensor ddim = DdimStep(*schedule, 6, x, out, prediction, 0, {});
    EXPECT_LT((DpmSolverStep(*schedule, 6, x, x0, {}) - ddim).abs().max().item<double>(), 1e-5);
  }
  EXPECT_TRUE(torch::equal(DpmSolverStep(*schedule, 0, x, out, x), out));
}

}  // namespace
}  // namespace reenact
