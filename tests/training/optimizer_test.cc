#include "training/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>

namespace reenact {
namespace {

torch::Tensor Parameter(std::vector<float> values) {
  return torch::tensor(values).set_requires_grad(true);
}

void SetGradient(torch::Tensor& parameter, std::vector<float> values) {
  parameter.mutable_grad() = torch::tensor(values);
}

TEST(AdamWTest, FirstStepsFollowTheFormula) {
  torch::Tensor p = Parameter({1.0f, -2.0f});
  AdamW adam({{"p", p, 1.0}},
             {.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.1, .clip_norm = 0});
  double m = 0, v = 0, expected = 1;

  for (int step = 1; step <= 3; ++step) {
    const double g = 0.3 * step;
    SetGradient(p, {static_cast<float>(g), 0});
    adam.Step(0.01);
    m = 0.9 * m + 0.1 * g;
    v = 0.95 * v + 0.05 * g * g;
    expected -= 0.01 * 0.1 * expected;
    expected -=
        0.01 * (m / (1 - std::pow(0.9, step))) / (std::sqrt(v / (1 - std::pow(0.95, step))) + 1e-8);
  }

  EXPECT_NEAR(p[0].item<double>(), expected, 1e-6);
  EXPECT_NEAR(p[1].item<double>(), -2 * std::pow(1 - 0.001, 3), 1e-6);  // decay alone
}

TEST(AdamWTest, NormIsTakenOverAllParametersAndGradientsAreCleared) {
  torch::Tensor a = Parameter({0}), b = Parameter({0});
  AdamW adam({{"a", a, 1.0}, {"b", b, 1.0}}, {});
  SetGradient(a, {3});
  SetGradient(b, {4});

  EXPECT_NEAR(adam.Step(0.1), 5, 1e-6);
  EXPECT_FALSE(a.grad().defined());
}

TEST(AdamWTest, LearningRateRatioScalesTheUpdate) {
  torch::Tensor a = Parameter({0}), b = Parameter({0});
  AdamW adam({{"a", a, 1.0}, {"b", b, 0.1}}, {});
  SetGradient(a, {1});
  SetGradient(b, {1});

  adam.Step(0.5);

  EXPECT_NEAR(a.item<double>(), 10 * b.item<double>(), 1e-6);
}

TEST(AdamWTest, GradientThatIsNotFiniteChangesNothing) {
  torch::Tensor p = Parameter({1});
  AdamW adam({{"p", p, 1.0}}, {});
  SetGradient(p, {NAN});

  EXPECT_FALSE(std::isfinite(adam.Step(0.1)));
  EXPECT_EQ(p.item<float>(), 1);
}

TEST(AdamWTest, StateOfAnotherModelIsRefusedWhole) {
  torch::Tensor p = Parameter({1}), q = Parameter({1, 2});
  AdamW small({{"p", p, 1.0}}, {}), large({{"p", q, 1.0}}, {});
  TensorMap state;
  small.Save("adam.", state);

  EXPECT_EQ(large.Load("adam.", state).code(), absl::StatusCode::kInvalidArgument);
}

TEST(MovingAverageTest, ForgetsTheStartThenFollowsTheDecay) {
  const auto options = torch::nn::LinearOptions(1, 1).bias(false);
  torch::nn::Linear model(options), shadow(options);
  torch::NoGradGuard no_grad;
  model->weight.fill_(0);
  MovingAverage average(*model, *shadow, 0.5);
  model->weight.fill_(1);

  average.Update();  // decay min(0.5, 2/11)

  EXPECT_NEAR(shadow->weight.item<double>(), 9.0 / 11, 1e-6);
  average.set_num_updates(1000);
  model->weight.fill_(0);
  average.Update();
  EXPECT_NEAR(shadow->weight.item<double>(), 4.5 / 11, 1e-6);
}

}  // namespace
}  // namespace reenact
