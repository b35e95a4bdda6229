#include <cmath>
#include <string>
#include <vector>

#include "pipeline/diffusion/losses.h"
#include "pipeline/diffusion/samplers.h"
#include "pipeline/diffusion/schedule.h"
#include "pipeline/models/dit.h"
#include "tests/pipeline/weights/golden.h"

namespace reenact {
namespace {

using testing::Golden;
using testing::Near;
using testing::NearAbsolute;
using torch::Tensor;

constexpr double kTableTolerance = 1e-12;
constexpr double kStepTolerance = 2e-5;
constexpr double kLossTolerance = 1e-5;
constexpr double kGradientNormTolerance = 5e-6;
constexpr double kGradientTolerance = 1e-4;
constexpr double kLikelihoodTolerance = 5e-4;  // absolute: differences of distribution functions
constexpr double kKlTolerance = 2e-5;          // absolute

DiT ReadModel(const Golden& golden) {
  DiTConfig config;
  config.latent_channels = golden.config().value("in_channels", int64_t{4});
  config.latent_size = golden.size("input_size");
  config.patch_size = golden.size("patch_size");
  config.hidden_size = golden.size("hidden_size");
  config.depth = golden.size("depth");
  config.num_heads = golden.size("num_heads");
  config.num_classes = golden.size("num_classes");
  config.learn_sigma = golden.config().value("learn_sigma", true);
  const absl::Status valid = Validate(config);
  if (!valid.ok()) throw std::runtime_error(valid.ToString());
  DiT model(config);
  const absl::Status loaded = LoadWeights(*model, golden.weights());
  if (!loaded.ok()) throw std::runtime_error(loaded.ToString());
  return model;
}

Schedule MakeSchedule(int num_train_steps, const std::string& respacing) {
  auto schedule = Schedule::Create("linear", num_train_steps, respacing);
  if (!schedule.ok()) throw std::runtime_error(schedule.status().ToString());
  return *std::move(schedule);
}

// Element by element, unlike Near.
::testing::AssertionResult TableNear(const std::vector<double>& actual, const Tensor& expected) {
  if (static_cast<int64_t>(actual.size()) != expected.numel()) {
    return ::testing::AssertionFailure() << actual.size() << " entries, not " << expected.numel();
  }
  const auto reference = expected.to(torch::kFloat64).contiguous();
  for (size_t i = 0; i < actual.size(); ++i) {
    const double e = reference.data_ptr<double>()[i];
    if (!(std::abs(actual[i] - e) <= kTableTolerance * std::abs(e))) {
      return ::testing::AssertionFailure() << "entry " << i << ": " << actual[i] << ", not " << e;
    }
  }
  return ::testing::AssertionSuccess();
}

TEST(DiffusionGoldenTest, TablesEqualTheReference) {
  REENACT_GOLDEN_FILES(files, "diffusion_tables");
  for (const std::string& path : files) {
    const Golden golden(path);
    const auto num_steps = static_cast<int>(golden.size("diffusion_steps"));
    ASSERT_EQ(golden.config().at("noise_schedule"), "linear");
    ASSERT_FALSE(golden.config().at("respacing").empty());
    for (const std::string respacing : golden.config().at("respacing")) {
      SCOPED_TRACE(path + " \"" + respacing + "\"");
      const Schedule schedule = MakeSchedule(num_steps, respacing);
      const std::string name =
          (respacing.empty() ? golden.config().at("name_of_empty").get<std::string>() : respacing) +
          ".";
      const auto timesteps = torch::tensor(schedule.timesteps());
      EXPECT_TRUE(torch::equal(timesteps, golden.out(name + "use_timesteps")));
      EXPECT_TRUE(torch::equal(timesteps, golden.out(name + "timestep_map")));
      EXPECT_TRUE(TableNear(schedule.betas(), golden.out(name + "betas")));
      EXPECT_TRUE(TableNear(schedule.alphas_cumprod(), golden.out(name + "alphas_cumprod")));
      EXPECT_TRUE(
          TableNear(schedule.alphas_cumprod_prev(), golden.out(name + "alphas_cumprod_prev")));
      EXPECT_TRUE(
          TableNear(schedule.posterior_variance(), golden.out(name + "posterior_variance")));
      EXPECT_TRUE(TableNear(schedule.posterior_log_variance_clipped(),
                            golden.out(name + "posterior_log_variance_clipped")));
      EXPECT_TRUE(
          TableNear(schedule.posterior_mean_coef1(), golden.out(name + "posterior_mean_coef1")));
      EXPECT_TRUE(
          TableNear(schedule.posterior_mean_coef2(), golden.out(name + "posterior_mean_coef2")));
    }
    for (const auto& item : golden.config().at("error_cases").items()) {
      EXPECT_EQ(Schedule::Create("linear", num_steps, item.key()).status().code(),
                absl::StatusCode::kInvalidArgument)
          << item.key();
    }
  }
}

// Runs one recorded loop: each step from the recorded input, and the loop on its own.
void CheckRun(const Golden& golden, DiT& model, const std::string& run,
              const nlohmann::json& settings) {
  const Schedule schedule = MakeSchedule(1000, settings.at("respacing"));
  const bool guided = !settings.at("cfg_scale").is_null();
  const bool ddim = settings.at("sampler") == "ddim";
  const double eta = settings.at("eta");
  ASSERT_FALSE(settings.at("clip_denoised").get<bool>());
  ASSERT_EQ(schedule.size(), settings.at("steps").get<int>());

  const Tensor x_T = golden.in(run + ".x_T");
  Tensor y = golden.in("y");
  if (guided) y = torch::cat({y, torch::full_like(y, model->config().num_classes)}, 0);
  const auto predict = [&](const Tensor& x, int i) {
    const Tensor t = torch::full({x.size(0)}, schedule.timestep(i), torch::kInt64);
    return guided ? ForwardWithCfg(model, x, t, y, settings.at("cfg_scale")) : model(x, t, y);
  };
  const auto step = [&](const Tensor& x, const Tensor& output, int i, const Tensor& noise) {
    return ddim ? DdimStep(schedule, i, x, output, Prediction::kEpsilon, eta, noise)
                : DdpmStep(schedule, i, x, output, Prediction::kEpsilon, noise);
  };

  Tensor free = x_T;
  for (int k = 0; k < schedule.size(); ++k) {
    SCOPED_TRACE("step " + std::to_string(k));
    const int i = schedule.size() - 1 - k;
    EXPECT_EQ(schedule.timestep(i), golden.out(run + ".timesteps")[k].item<int64_t>());
    const Tensor input = k == 0 ? x_T : golden.out(run + ".x")[k - 1];
    const Tensor noise = golden.in(run + ".noise")[k];

    const Tensor output = predict(input, i);
    EXPECT_TRUE(Near(output, golden.out(run + ".model_output")[k], kStepTolerance));
    EXPECT_TRUE(Near(PredictX0(schedule, i, input, output, Prediction::kEpsilon),
                     golden.out(run + ".pred_xstart")[k], kStepTolerance));
    EXPECT_TRUE(Near(step(input, output, i, noise), golden.out(run + ".x")[k], kStepTolerance));

    free = step(free, predict(free, i), i, noise);
    EXPECT_TRUE(Near(free, golden.out(run + ".x")[k], kStepTolerance));
  }
}

void CheckReverse(const Golden& golden, DiT& model, const std::string& run,
                  const nlohmann::json& settings) {
  const Schedule schedule = MakeSchedule(1000, settings.at("respacing"));
  const Tensor t = golden.in(run + ".t"), x = golden.in(run + ".x");
  std::vector<Tensor> rows;
  for (int64_t row = 0; row < t.size(0); ++row) {
    const auto i = static_cast<int>(t[row].item<int64_t>());
    const Tensor input = x.narrow(0, row, 1);
    const Tensor output = model(input, torch::full({1}, schedule.timestep(i), torch::kInt64),
                                golden.in("y").narrow(0, row, 1));
    rows.push_back(DdimReverseStep(schedule, i, input, output, Prediction::kEpsilon));
  }
  EXPECT_TRUE(Near(torch::cat(rows, 0), golden.out(run + ".x"), kStepTolerance));
}

TEST(DiffusionGoldenTest, SamplersEqualTheReference) {
  REENACT_GOLDEN_FILES(files, "diffusion_steps");
  const torch::NoGradGuard no_grad;
  for (const std::string& path : files) {
    const Golden golden(path);
    DiT model = ReadModel(golden);
    ASSERT_FALSE(golden.config().at("runs").empty());
    for (const auto& run : golden.config().at("runs").items()) {
      SCOPED_TRACE(path + " " + run.key());
      if (run.value().contains("sampler")) {
        CheckRun(golden, model, run.key(), run.value());
      } else {
        CheckReverse(golden, model, run.key(), run.value());
      }
    }
  }
}

TEST(DiffusionGoldenTest, LossesAndGradientsEqualTheReference) {
  REENACT_GOLDEN_FILES(files, "diffusion_losses");
  for (const std::string& path : files) {
    SCOPED_TRACE(path);
    const Golden golden(path);
    DiT model = ReadModel(golden);
    const Schedule schedule = MakeSchedule(1000, golden.config().at("respacing"));
    const Tensor &x0 = golden.in("x_start"), &noise = golden.in("noise"), &t = golden.in("t");

    const Tensor x_t = AddNoise(schedule, x0, t, noise);
    const Tensor output = model(x_t, t, golden.in("y"));
    const DiffusionLoss loss =
        ComputeDiffusionLoss(schedule, Prediction::kEpsilon, x0, x_t, t, noise, output);
    loss.loss.mean().backward();

    EXPECT_TRUE(Near(x_t, golden.out("x_t"), kLossTolerance));
    EXPECT_TRUE(Near(output, golden.out("model_output"), kLossTolerance));
    EXPECT_TRUE(Near(loss.mse, golden.out("mse"), kLossTolerance));
    EXPECT_TRUE(Near(loss.vb, golden.out("vb"), kLossTolerance));
    EXPECT_TRUE(Near(loss.loss, golden.out("loss"), kLossTolerance));
    std::map<std::string, Tensor> gradients;
    for (const auto& item : model->named_parameters()) {
      gradients[item.key()] = item.value().grad();
    }
    const auto norms = golden.outputs("grad_norm.");
    EXPECT_EQ(norms.size(), gradients.size());
    for (const std::string& name : norms) {
      EXPECT_TRUE(
          Near(gradients.at(name).norm(), golden.out("grad_norm." + name), kGradientNormTolerance))
          << name;
    }
    const auto full = golden.outputs("grad.");
    EXPECT_FALSE(full.empty());
    for (const std::string& name : full) {
      EXPECT_TRUE(Near(gradients.at(name), golden.out("grad." + name), kGradientTolerance)) << name;
    }

    EXPECT_TRUE(
        NearAbsolute(DiscretizedGaussianLogLikelihood(golden.in("nll.x"), golden.in("nll.means"),
                                                      golden.in("nll.log_scales")),
                     golden.out("nll.log_prob"), kLikelihoodTolerance));
    EXPECT_TRUE(NearAbsolute(NormalKl(golden.in("kl.mean1"), golden.in("kl.logvar1"),
                                      golden.in("kl.mean2"), golden.in("kl.logvar2")),
                             golden.out("kl.nats"), kKlTolerance));
  }
}

// diffusers' multistep solver (golden/make_dpm_solver.py) up to the step into the least noisy kept
// step, which ours takes in first order.
TEST(DpmSolverGolden, StepsEqualDiffusers) {
  const Golden golden(std::string(REENACT_SOURCE_DIR) +
                      "/tests/pipeline/diffusion/golden/dpm_solver.safetensors");
  const auto timesteps = golden.config().at("timesteps").get<std::vector<int64_t>>();
  const int num_steps = static_cast<int>(timesteps.size());
  const Schedule schedule =
      MakeSchedule(static_cast<int>(golden.size("num_train_steps")), std::to_string(num_steps));
  for (const std::string name : golden.config().at("predictions")) {
    const auto prediction = PredictionFromName(name);
    ASSERT_TRUE(prediction.ok()) << prediction.status();
    Tensor x = golden.in("x"), previous;
    for (int i = num_steps - 1; i > 1; --i) {
      const int step = num_steps - 1 - i;
      ASSERT_EQ(schedule.timestep(i), timesteps[static_cast<size_t>(step)]);
      const Tensor x0 = PredictX0(schedule, i, x, golden.in("output")[step], *prediction);
      x = DpmSolverStep(schedule, i, x, x0, previous);
      previous = x0;
      EXPECT_TRUE(Near(x, golden.out(name + ".x")[step], kStepTolerance))
          << name << ", step " << step;
    }
  }
}

}  // namespace
}  // namespace reenact
