#include "training/sdit_trainer.h"

#include <limits>
#include <utility>

#include "nlohmann/json.hpp"
#include "pipeline/engine/landmark_tensors.h"
#include "pipeline/face/landmark_map.h"
#include "pipeline/weights/load.h"
#include "tests/training/tiny_data.h"
#include "tests/training/tiny_sdit.h"
#include "training/state.h"

namespace reenact {
namespace {

using testing::TinyData;

SditTrainingOptions TinyOptions() { return testing::TinySditOptions(); }

const SditData& Data() { return testing::TinySditData(); }

std::unique_ptr<SditTrainee> Make(const SditTrainingOptions& options) {
  return testing::MakeTinySdit(options);
}

// What IdentityInput() holds.
torch::Tensor GOf(const SditRows& rows) {
  return rows.identity.narrow(1, 0, testing::kTinyClipDim);
}
torch::Tensor ChangeOf(const SditRows& rows) {
  return rows.identity.narrow(1, testing::kTinyClipDim, testing::kTinyClipDim);
}

TEST(SditTraineeTest, LossFallsForEveryKindOfSource) {
  for (const SourceTokens source :
       {SourceTokens::kNone, SourceTokens::kSelf, SourceTokens::kJoint}) {
    SditTrainingOptions options = TinyOptions();
    options.source = source;
    options.landmark_map = source != SourceTokens::kNone;
    const auto trainee = Make(options);

    const std::vector<double> losses = testing::TrainSteps(*trainee, 0, 120, 120);

    EXPECT_LT(testing::Mean(losses, 100, 20), 0.8 * testing::Mean(losses, 0, 20))
        << static_cast<int>(source);
  }
}

TEST(SditTraineeTest, ThePapersFormTrainsToo) {
  SditTrainingOptions options = TinyOptions();
  options.source = SourceTokens::kNone;
  options.landmark_map = false;
  options.prediction = Prediction::kEpsilon;
  options.learn_sigma = true;
  options.mapping_lr_ratio = 0.1;
  const auto trainee = Make(options);

  const std::vector<double> losses = testing::TrainSteps(*trainee, 0, 120, 120);

  EXPECT_EQ(trainee->config().out_channels(), 8);
  EXPECT_LT(testing::Mean(losses, 100, 20), 0.8 * testing::Mean(losses, 0, 20));
}

TEST(SditTraineeTest, TrainingLowersUnexplainedVariance) {
  const auto trainee = Make(TinyOptions());
  const double before = trainee->Evaluate()[0].second;

  testing::TrainSteps(*trainee, 0, 200, 200);

  EXPECT_LT(trainee->Evaluate()[0].second, 0.7 * before);
}

TEST(SditTraineeTest, ResumesExactly) {
  testing::ExpectExactResume([] { return Make(TinyOptions()); }, 3, 7);
}

// What a finished run leaves behind.
TrainedSdit Finish(const SditTrainee& trainee) {
  return {trainee.config(), trainee.Folded(), DiffusionProcess{}, {}};
}

TEST(SditTraineeTest, StartsFromTheAveragedWeightsOfAnotherRunWithAnotherWhitening) {
  const auto first = Make(TinyOptions());
  testing::TrainSteps(*first, 0, 30, 30);
  const TrainedSdit finished = Finish(*first);
  SditTrainingOptions other = TinyOptions();
  other.seed = 9;  // other weights, and other samples to whiten by
  const auto second = Make(other);

  ASSERT_TRUE(second->StartFrom(finished).ok());

  // Only what the other whitening leaves out of the landmarks is lost.
  const SditRows rows = first->DrawRows(99);
  for (const bool keep_landmarks : {true, false}) {
    const torch::Tensor before = first->MapAveraged(rows.identity, rows.landmarks, keep_landmarks);
    const torch::Tensor lost =
        second->MapAveraged(rows.identity, rows.landmarks, keep_landmarks) - before;
    EXPECT_LT(lost.norm().item<double>(), 0.05 * before.norm().item<double>());
  }
  SDiT after = second->Folded();
  const auto expected = StateDict(*finished.network);
  for (const auto& [name, tensor] : StateDict(*after)) {
    if (name.find("_proj") != std::string::npos) continue;  // written in other directions
    EXPECT_TRUE(torch::equal(tensor, expected.at(name))) << name;
  }
  // The optimizer is fresh, and so is the average's count.
  TensorMap state;
  second->Save(state);
  EXPECT_EQ(state.at("average_updates").item<int64_t>(), 0);
  EXPECT_EQ(state.at("adam.steps").abs().max().item<double>(), 0);
  for (const auto& [name, tensor] : state) {
    if (name.starts_with("adam.m.")) {
      EXPECT_EQ(tensor.abs().max().item<double>(), 0) << name;
    }
  }
  // And training goes on from there: no jump back to what random weights lose.
  const double start = testing::Mean(testing::TrainSteps(*second, 0, 10, 10), 0, 10);
  const double random = testing::Mean(testing::TrainSteps(*Make(other), 0, 10, 10), 0, 10);
  EXPECT_LT(start, 0.9 * random);
}

TEST(SditTraineeTest, StartsFromAnotherRunAndThenResumesExactly) {
  const auto first = Make(TinyOptions());
  testing::TrainSteps(*first, 0, 10, 10);
  const TrainedSdit finished = Finish(*first);
  SditTrainingOptions other = TinyOptions();
  other.seed = 9;

  testing::ExpectExactResume(
      [&] {
        auto trainee = Make(other);
        const absl::Status status = trainee->StartFrom(finished);
        if (!status.ok()) throw std::runtime_error(status.ToString());
        return trainee;
      },
      3, 7);
}

TEST(SditTraineeTest, AResumedRunMustSayAgainWhatItStartedFrom) {
  const auto first = Make(TinyOptions());
  const TrainedSdit finished = Finish(*first);
  const auto second = Make(TinyOptions());
  ASSERT_TRUE(second->StartFrom(finished).ok());

  EXPECT_NE(second->Description(), first->Description());
  EXPECT_THAT(second->Description(), ::testing::HasSubstr("latents scaled by 1"));
}

TEST(SditTraineeTest, WithNewTowersOnlyTheLayerOfGBeginsAnew) {
  const auto first = Make(TinyOptions());
  testing::TrainSteps(*first, 0, 30, 30);
  const TrainedSdit finished = Finish(*first);
  SditTrainingOptions other = TinyOptions();
  other.seed = 9;
  const auto second = Make(other);
  TensorMap fresh, begun;
  second->Save(fresh);
  for (auto& [name, tensor] : fresh) tensor = tensor.clone();

  ASSERT_TRUE(second->StartFrom(finished, /*new_clip=*/true).ok());

  second->Save(begun);
  int num_of_g = 0;
  const auto trained = StateDict(*finished.network);
  for (const auto& [name, weights] : fresh) {
    if (!name.starts_with("average.") || name.find("whitening") != std::string::npos) continue;
    const bool of_g =
        name.find("identity") != std::string::npos || name.find("clip") != std::string::npos;
    num_of_g += of_g ? 1 : 0;
    if (of_g) {
      EXPECT_TRUE(torch::equal(begun.at(name), weights)) << name;
    } else if (name.starts_with("average.sdit.") && name.find("lmk_proj") == std::string::npos) {
      EXPECT_TRUE(torch::equal(begun.at(name), trained.at(name.substr(13)))) << name;
    }
  }
  EXPECT_EQ(num_of_g, 7);
  EXPECT_FALSE(
      torch::equal(begun.at("average.whitened.weight"), fresh.at("average.whitened.weight")));
}

// Trainees of 200 clips whose hidden sources have one draw of the time step, and four.
struct PlainAndNoisy {
  explicit PlainAndNoisy(double drop_source_tokens) {
    SditTrainingOptions options = TinyOptions();
    options.clips = 200;
    options.drop_source_tokens = drop_source_tokens;
    plain = Make(options);
    options.hidden_source_draws = 4;
    noisy = Make(options);
  }

  std::unique_ptr<SditTrainee> plain, noisy;
};

TEST(SditTraineeTest, WithoutSourceTokensTheNoisiestOfTheDrawsCounts) {
  const auto [plain, noisy] = PlainAndNoisy(0.5);
  const SditRows rows = noisy->DrawRows(3);

  const torch::Tensor before = plain->DrawNoise(3, rows).t, after = noisy->DrawNoise(3, rows).t;

  const torch::Tensor kept = rows.keep_source;
  EXPECT_TRUE(torch::equal(before.masked_select(kept), after.masked_select(kept)));
  EXPECT_TRUE((after >= before).all().item<bool>());
  const auto mean = [](const torch::Tensor& t) {
    return t.to(torch::kFloat32).mean().item<double>();
  };
  EXPECT_NEAR(mean(before.masked_select(~kept)), 500, 90);
  EXPECT_NEAR(mean(after.masked_select(~kept)), 800, 60);  // the largest of four
  EXPECT_LT(after.max().item<int64_t>(), 1000);
}

TEST(SditTraineeTest, WithASourceOfOtherLooksTheNoisiestOfTheDrawsCounts) {
  const auto [plain, noisy] = PlainAndNoisy(0);
  SditRows rows = noisy->DrawRows(3);
  EXPECT_TRUE(rows.same_looks.all().item<bool>());
  rows.same_looks.narrow(0, 0, 100).fill_(false);

  const torch::Tensor before = plain->DrawNoise(3, rows).t, after = noisy->DrawNoise(3, rows).t;

  EXPECT_TRUE(torch::equal(before.narrow(0, 100, 100), after.narrow(0, 100, 100)));
  EXPECT_NEAR(after.narrow(0, 0, 100).to(torch::kFloat32).mean().item<double>(), 800, 60);
}

TEST(SditTraineeTest, TheNoisiestOfTheDrawsCountsForRowsThatSeeTheirSource) {
  SditTrainingOptions options = TinyOptions();
  options.clips = 200;
  options.drop_source_tokens = 0.5;
  const auto plain = Make(options);
  options.time_draws = 2;
  const auto noisy = Make(options);
  const SditRows rows = noisy->DrawRows(3);

  const torch::Tensor before = plain->DrawNoise(3, rows).t, after = noisy->DrawNoise(3, rows).t;

  const torch::Tensor shown = rows.keep_source;
  EXPECT_TRUE(torch::equal(before.masked_select(~shown), after.masked_select(~shown)));
  EXPECT_TRUE((after >= before).all().item<bool>());
  EXPECT_NEAR(after.masked_select(shown).to(torch::kFloat32).mean().item<double>(), 667, 80);
}

TEST(SditTraineeTest, FramesOfSomeRowsHaveTheSameNoise) {
  SditTrainingOptions options = TinyOptions();
  options.clips = 100;
  options.shared_noise = 0.3;
  const auto trainee = Make(options);
  const SditRows rows = trainee->DrawRows(3);

  const torch::Tensor noise = trainee->DrawNoise(3, rows).noise;

  int shared = 0;
  for (int64_t b = 0; b < options.clips; ++b) {
    shared += torch::equal(noise[b][0], noise[b][1]) ? 1 : 0;
  }
  EXPECT_NEAR(shared, 30, 14);  // three standard deviations
  EXPECT_NEAR(noise.std().item<double>(), 1, 0.05);
}

TEST(SditTraineeTest, SingleFramesAreOfMorePeopleAtTheirRate) {
  SditTrainingOptions options = TinyOptions();
  options.single_frames = 0.4;
  const auto trainee = Make(options);
  const int64_t T = trainee->config().num_frames;
  int single = 0;
  for (int64_t number = 0; number < 200; ++number) {
    const SditRows rows = trainee->DrawRows(number);
    const bool is_single = rows.latents.size(1) == 1;
    single += is_single ? 1 : 0;
    EXPECT_EQ(rows.latents.size(0) * rows.latents.size(1), options.clips * T);
    EXPECT_EQ(rows.landmarks.size(0), rows.latents.size(0));
    EXPECT_EQ(rows.landmarks.size(1), rows.latents.size(1));
    EXPECT_EQ(static_cast<int64_t>(rows.seeds.size()), rows.latents.size(0));
    EXPECT_EQ(trainee->DrawNoise(number, rows).noise.sizes(), rows.latents.sizes());
  }
  EXPECT_NEAR(single, 80, 25);

  const std::vector<double> losses = testing::TrainSteps(*trainee, 0, 120, 120);
  EXPECT_LT(testing::Mean(losses, 100, 20), 0.8 * testing::Mean(losses, 0, 20));
}

TEST(SditTraineeTest, SingleFramesMayDoWithoutTheSource) {
  SditTrainingOptions options = TinyOptions();
  options.single_frames = 0.5;
  options.drop_source_tokens = 0;
  options.drop_single_source_tokens = 1;
  const auto trainee = Make(options);
  for (int64_t number = 0; number < 20; ++number) {
    const SditRows rows = trainee->DrawRows(number);
    const bool is_single = rows.latents.size(1) == 1;
    EXPECT_EQ(rows.keep_source.any().item<bool>(), !is_single);
    EXPECT_EQ(rows.keep_source.all().item<bool>(), !is_single);
  }

  const std::vector<double> losses = testing::TrainSteps(*trainee, 0, 120, 120);
  EXPECT_LT(testing::Mean(losses, 100, 20), 0.9 * testing::Mean(losses, 0, 20));
}

TEST(SampleRowsTest, RowsWithoutASourceAreTheSameBesideOnesWithOne) {
  const auto trainee = Make(TinyOptions());
  testing::TrainSteps(*trainee, 0, 10, 10);
  SDiT sdit = trainee->Folded();
  const SamplingOptions options = {.prediction = Prediction::kV};
  SditRows rows = EvaluationRows(Data(), trainee->config(), {0, 1}, {0, 1});
  rows.keep_source[0] = false;

  const torch::Tensor beside = SampleRows(sdit, options, "linear", rows, 3, 1);
  rows.keep_source[1] = false;
  const torch::Tensor alone = SampleRows(sdit, options, "linear", rows, 3, 1);

  EXPECT_TRUE(torch::allclose(beside[0], alone[0], 1e-4, 1e-4));
  EXPECT_FALSE(torch::allclose(beside[1], alone[1], 1e-4, 1e-4));
}

TEST(SditTraineeTest, DoesNotStartFromAnotherNetwork) {
  const auto first = Make(TinyOptions());
  const TrainedSdit finished = Finish(*first);
  SditTrainingOptions heads = TinyOptions(), prediction = TinyOptions();
  heads.num_heads = 4;  // every tensor has the same shape
  prediction.prediction = Prediction::kX0;

  for (const SditTrainingOptions& options : {heads, prediction}) {
    const auto trainee = Make(options);
    const absl::Status status = trainee->StartFrom(finished);

    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("run to start from"));
    EXPECT_THAT(trainee->Description(), ::testing::Not(::testing::HasSubstr("scaled by")));
  }
}

TEST(SditTraineeTest, ZeroTerminalSnrTrainsAndSamples) {
  for (const Prediction prediction : {Prediction::kV, Prediction::kX0}) {
    SditTrainingOptions options = TinyOptions();
    options.zero_terminal_snr = true;
    options.prediction = prediction;
    const auto trainee = Make(options);
    const double before = trainee->Evaluate()[0].second;

    testing::TrainSteps(*trainee, 0, 150, 150);

    EXPECT_LT(trainee->Evaluate()[0].second, 0.8 * before) << static_cast<int>(prediction);
    EXPECT_THAT(trainee->Description(), ::testing::HasSubstr("zero terminal SNR"));
  }
}

TEST(SditTraineeTest, ZeroTerminalSnrRefusesWhatLearnsNothingAtTheLastStep) {
  SditTrainingOptions noise = TinyOptions(), weighted = TinyOptions();
  noise.zero_terminal_snr = weighted.zero_terminal_snr = true;
  noise.prediction = Prediction::kEpsilon;
  weighted.min_snr_gamma = 5;

  for (const SditTrainingOptions& options : {noise, weighted}) {
    const auto trainee = SditTrainee::Create(options, Data(), nullptr, AutoencoderKL(nullptr));
    EXPECT_EQ(trainee.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(trainee.status().message()), ::testing::HasSubstr("zero terminal SNR"));
  }
}

TEST(SditTraineeTest, ARunMayStartFromOneWithAnotherSchedule) {
  const auto first = Make(TinyOptions());
  const TrainedSdit finished = Finish(*first);
  SditTrainingOptions options = TinyOptions();
  options.zero_terminal_snr = true;

  EXPECT_TRUE(Make(options)->StartFrom(finished).ok());
}

TEST(SditTraineeTest, FoldedNetworkEqualsTheOneThatWasTrained) {
  const auto trainee = Make(TinyOptions());
  testing::TrainSteps(*trainee, 0, 30, 30);
  SDiT folded = trainee->Folded();
  const SditRows rows = trainee->DrawRows(99);
  torch::NoGradGuard no_grad;
  const torch::Tensor G = rows.identity;

  const torch::Tensor whitened = trainee->MapAveraged(G, rows.landmarks);
  const torch::Tensor raw = folded->map(G, rows.landmarks);

  EXPECT_GT(whitened.abs().max().item<double>(), 1e-3);
  EXPECT_LT((whitened - raw).abs().max().item<double>(), 1e-4);
}

TEST(SditTraineeTest, NoLandmarksMeansTheNullVectorAfterFolding) {
  const auto trainee = Make(TinyOptions());
  testing::TrainSteps(*trainee, 0, 10, 10);
  SDiT folded = trainee->Folded();
  torch::NoGradGuard no_grad;
  const SditRows rows = trainee->DrawRows(99);

  const torch::Tensor with_null =
      folded->map(rows.identity, folded->null_lmk().view({1, 1, -1}).expand_as(rows.landmarks));
  const torch::Tensor dropped = trainee->MapAveraged(rows.identity, rows.landmarks, false);

  EXPECT_LT((with_null - dropped).abs().max().item<double>(), 1e-4);
}

TEST(SditTraineeTest, SourceIsAnotherFrameAndDropsHappenAtTheirRates) {
  SditTrainingOptions options = TinyOptions();
  options.clips = 8;
  const auto trainee = Make(options);

  int64_t rows_seen = 0, no_source = 0, no_identity = 0, no_landmarks = 0;
  for (int64_t step = 0; step < 200; ++step) {
    const SditRows rows = trainee->DrawRows(step);
    rows_seen += options.clips;
    no_source += (~rows.keep_source).sum().item<int64_t>();
    no_identity += (~rows.keep_identity).sum().item<int64_t>();
    no_landmarks += (~rows.keep_landmarks).sum().item<int64_t>();
    for (int64_t b = 0; b < options.clips; ++b) {
      for (int64_t k = 0; k < options.num_frames; ++k) {
        EXPECT_FALSE(torch::equal(rows.latents[b][k], rows.source_latent[b]));
      }
    }
  }

  // 1600 rows: the standard deviation of a 10 % rate is 0.75 %.
  const auto share = [rows_seen](int64_t count) {
    return static_cast<double>(count) / static_cast<double>(rows_seen);
  };
  EXPECT_NEAR(share(no_source), options.drop_source_tokens, 0.03);
  EXPECT_NEAR(share(no_identity), options.drop_identity, 0.03);
  EXPECT_NEAR(share(no_landmarks), options.drop_landmarks, 0.03);
}

TEST(SditTraineeTest, PortraitsServeAsSourcesAtTheirRate) {
  SditData with_portraits = Data(), portraits = Data();
  portraits.latents = torch::full_like(portraits.latents, 7);
  with_portraits.portraits = &portraits;
  SditTrainingOptions options = TinyOptions();
  options.clips = 8;
  auto trainee = SditTrainee::Create(options, with_portraits, nullptr, AutoencoderKL(nullptr));
  ASSERT_TRUE(trainee.ok()) << trainee.status();

  double from_portraits = 0;
  for (int64_t step = 0; step < 100; ++step) {
    const SditRows rows = (*trainee)->DrawRows(step);
    for (int64_t b = 0; b < options.clips; ++b) {
      from_portraits += rows.source_latent[b].eq(7).all().item<bool>() ? 1 : 0;
    }
    EXPECT_FALSE(rows.latents.eq(7).all().item<bool>());
  }

  EXPECT_NEAR(from_portraits / 800, options.portrait_source, 0.06);
}

TEST(SditTraineeTest, WithASourceOfOtherLooksGTellsTheOwnOnes) {
  SditData with_changed = Data(), changed = Data();
  changed.latents = torch::full_like(changed.latents, 7);
  changed.image_identity = torch::full_like(changed.image_identity, 5);
  with_changed.changed = &changed;
  SditTrainingOptions options = TinyOptions();
  options.clips = 8;
  options.drop_source_tokens = 0.5;
  options.changed_source = 0.4;
  const auto trainee = SditTrainee::Create(options, with_changed, nullptr, AutoencoderKL(nullptr));
  ASSERT_TRUE(trainee.ok()) << trainee.status();

  int kept = 0, from_changed = 0;
  for (int64_t step = 0; step < 100; ++step) {
    const SditRows rows = (*trainee)->DrawRows(step);
    for (int64_t b = 0; b < options.clips; ++b) {
      const bool is_changed = rows.source_latent[b].eq(7).all().item<bool>();
      kept += rows.keep_source[b].item<bool>() ? 1 : 0;
      from_changed += is_changed ? 1 : 0;
      EXPECT_TRUE(!is_changed || rows.keep_source[b].item<bool>());
      EXPECT_EQ(rows.same_looks[b].item<bool>(), !is_changed);
      EXPECT_FALSE(GOf(rows)[b].eq(5).any().item<bool>());
    }
  }

  EXPECT_NEAR(from_changed, 0.4 * kept, 40);
}

TEST(SditTraineeTest, NothingIsToChangeWhereGIsTheSourcesOwn) {
  SditData data = Data(), changed = Data();
  const int64_t P = data.num_people(), F = data.num_frames();
  const auto axis = [&](int64_t k, int64_t count) {
    return torch::eye(testing::kTinyClipDim)[k].expand({P, count, -1}).contiguous();
  };
  data.image_identity = axis(0, F);
  data.text_identity = axis(1, 2);
  changed.image_identity = axis(2, F);
  data.changed = &changed;
  SditTrainingOptions options = TinyOptions();
  options.clips = 200;
  options.drop_source_tokens = 0.3;
  options.changed_source = 0.4;
  options.text_identity = 0.5;
  const auto trainee = SditTrainee::Create(options, data, nullptr, AutoencoderKL(nullptr));
  ASSERT_TRUE(trainee.ok()) << trainee.status();

  const SditRows rows = (*trainee)->DrawRows(1);

  const torch::Tensor g = GOf(rows), change = ChangeOf(rows);
  int without_source = 0, own = 0, other = 0;
  for (int64_t b = 0; b < options.clips; ++b) {
    if (!rows.keep_source[b].item<bool>()) {
      ++without_source;
      EXPECT_FALSE(change[b].any().item<bool>());
    } else if (rows.same_looks[b].item<bool>()) {
      ++own;
      EXPECT_TRUE(torch::equal(change[b], g[b] - data.image_identity[0][0]));
      EXPECT_EQ(change[b].any().item<bool>(), g[b][1].item<float>() == 1);  // a text
    } else {
      ++other;
      EXPECT_TRUE(torch::equal(change[b], g[b] - changed.image_identity[0][0]));
    }
  }
  EXPECT_GT(std::min({without_source, own, other}), 20);
  // Nor in what is evaluated.
  EXPECT_FALSE(ChangeOf(EvaluationRows(data, (*trainee)->config(), {0}, {1})).any().item<bool>());
}

// What a network might find: a little beside where they are, the more so in later frames, and in
// the last frame nothing.
torch::Tensor FoundBesideExact(const DataCache& people) {
  const torch::Tensor exact = torch::cat({people.landmarks.unsqueeze(2), people.lookalikes}, 2);
  torch::Tensor found =
      exact + torch::arange(1, people.num_frames() + 1).view({1, -1, 1, 1, 1}) * 0.01f;
  found.select(1, people.num_frames() - 1).fill_(std::numeric_limits<float>::quiet_NaN());
  return found;
}

torch::Tensor Normalised(const torch::Tensor& landmarks) {
  return LandmarkTensor({ToLandmarks(landmarks)})[0];
}

TEST(SditTraineeTest, RowsHaveFoundLandmarksAtTheirRateAndExactOnesWhereNoneWereFound) {
  SditData data = Data();
  DataCache people = *data.people;
  people.found = FoundBesideExact(people);
  data.people = &people;
  const int64_t lost = data.num_frames() - 1;
  for (const double lookalike : {0.0, 1.0}) {
    SditTrainingOptions options = TinyOptions();
    options.clips = 200;
    options.found_landmarks = 0.7;
    options.far_source = 0;
    options.lookalike = lookalike;
    options.augmentation.exact = 1;
    const auto trainee = SditTrainee::Create(options, data, &data, AutoencoderKL(nullptr));
    ASSERT_TRUE(trainee.ok()) << trainee.status();
    const auto driver = static_cast<int64_t>(lookalike);  // the person, or the only lookalike
    const torch::Tensor exact_ones =
        driver == 0 ? people.landmarks : people.lookalikes.select(2, 0);

    const SditRows rows = (*trainee)->DrawRows(1);

    double found = 0, exact = 0;
    for (int64_t b = 0; b < options.clips; ++b) {
      bool any_found = false, any_lost = false;
      for (int64_t k = 0; k < options.num_frames; ++k) {
        // Which person and frame this is, by its latents.
        const torch::Tensor same =
            data.latents.eq(rows.latents[b][k]).flatten(2).all(2).nonzero()[0];
        const auto p = same[0].item<int64_t>(), f = same[1].item<int64_t>();
        const bool is_found =
            torch::equal(rows.landmarks[b][k], Normalised(people.found[p][f][driver]));
        EXPECT_TRUE(is_found || torch::equal(rows.landmarks[b][k], Normalised(exact_ones[p][f])));
        any_found |= is_found;
        any_lost |= f == lost;
      }
      if (any_lost) continue;
      (any_found ? found : exact) += 1;
    }
    EXPECT_NEAR(found / (found + exact), 0.7, 0.12);
    // What is evaluated is driven by found ones, as a reenactment is.
    const SditRows held_out = EvaluationRows(data, (*trainee)->config(), {0}, {1});
    const int64_t first = EvaluationFrames(data.num_frames(), options.num_frames)[0];
    EXPECT_TRUE(torch::equal(held_out.landmarks[0][0], Normalised(people.found[1][first][0])));
  }
}

TEST(SditTraineeTest, LandmarksFoundInSomeFoldersOnlyAreRefused) {
  SditData data = Data(), portraits = Data();
  DataCache looked = *portraits.people;
  looked.found = FoundBesideExact(looked);
  portraits.people = &looked;
  data.portraits = &portraits;

  const auto trainee = SditTrainee::Create(TinyOptions(), data, nullptr, AutoencoderKL(nullptr));

  EXPECT_EQ(trainee.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(trainee.status().message(), ::testing::HasSubstr("--find-landmarks"));
}

TEST(SditTraineeTest, OneFrameMayBeInThePoseOfASourceOfOtherLooks) {
  SditData data = Data(), portraits = Data(), changed = Data();
  portraits.latents = torch::full_like(portraits.latents, 3);
  changed.latents = torch::full_like(changed.latents, 7);
  SditTrainingOptions options = TinyOptions();
  options.clips = 100;
  options.drop_source_tokens = 0;
  options.changed_source = 0.5;
  options.same_pose = 0.4;
  options.lookalike = 0;
  options.augmentation.exact = 1;
  EXPECT_EQ(SditTrainee::Create(options, data, nullptr, AutoencoderKL(nullptr)).status().code(),
            absl::StatusCode::kInvalidArgument);
  data.portraits = &portraits;
  data.changed = &changed;
  const auto trainee = SditTrainee::Create(options, data, nullptr, AutoencoderKL(nullptr));
  ASSERT_TRUE(trainee.ok()) << trainee.status();
  // Eyes may differ, heads may not.
  DataCache others = *changed.people;
  others.landmarks = others.landmarks.clone();
  const DataCache* const same = std::exchange(changed.people, &others);
  others.landmarks.select(2, 159).add_(0.01);
  EXPECT_TRUE(SditTrainee::Create(options, data, nullptr, AutoencoderKL(nullptr)).ok());
  others.landmarks.select(2, 2).add_(0.01);
  EXPECT_FALSE(SditTrainee::Create(options, data, nullptr, AutoencoderKL(nullptr)).ok());
  changed.people = same;

  const SditRows rows = (*trainee)->DrawRows(1);

  const torch::Tensor portrait = rows.latents.eq(3).flatten(2).all(2);  // [B,T]
  EXPECT_NEAR(portrait.sum().item<double>(), 20, 12);
  for (const torch::Tensor& at : portrait.nonzero().unbind()) {
    const int64_t b = at[0].item<int64_t>(), k = at[1].item<int64_t>();
    EXPECT_TRUE(rows.source_latent[b].eq(7).all().item<bool>());
    EXPECT_EQ(portrait[b].sum().item<int64_t>(), 1);
    EXPECT_TRUE(torch::equal(rows.landmarks[b][k], rows.source_landmarks[b][0]));
  }
}

TEST(SditTraineeTest, GOfAnEditIsTheSourcesMovedByTheEditsDirection) {
  SditData with_changed = Data(), changed = Data();
  const int64_t P = changed.num_people(), F = changed.num_frames();
  const torch::Tensor axes = torch::eye(testing::kTinyClipDim);
  changed.image_identity = axes[0].expand({P, F, -1}).contiguous();
  changed.edits = (2 * axes[1]).expand({P, F, 3, -1}).contiguous();
  with_changed.changed = &changed;
  SditTrainingOptions options = TinyOptions();
  options.clips = 200;
  options.drop_source_tokens = 0;
  options.changed_source = 1;
  options.edited_identity = 0.6;
  const auto trainee = SditTrainee::Create(options, with_changed, nullptr, AutoencoderKL(nullptr));
  ASSERT_TRUE(trainee.ok()) << trainee.status();

  int edited = 0;
  const SditRows rows = (*trainee)->DrawRows(0);
  for (int64_t b = 0; b < options.clips; ++b) {
    const torch::Tensor moved = GOf(rows)[b];
    if (moved.narrow(0, 2, testing::kTinyClipDim - 2).any().item<bool>()) continue;
    ++edited;
    EXPECT_NEAR(moved.norm().item<double>(), 1, 1e-5);
    const double strength = (moved[1] / moved[0]).item<double>() / 2;
    EXPECT_GE(strength, 0.5);
    EXPECT_LE(strength, 1);
  }

  EXPECT_NEAR(edited, 120, 25);
}

TEST(SditTraineeTest, PortraitsOfOtherPeopleAreRefused) {
  DataCache strangers = TinyData();
  strangers.seeds[0] += 1;
  SditData with_portraits = Data(), portraits = Data();
  portraits.people = &strangers;
  for (const SditData** set : {&with_portraits.portraits, &with_portraits.changed}) {
    with_portraits.portraits = with_portraits.changed = nullptr;
    *set = &portraits;

    const auto trainee =
        SditTrainee::Create(TinyOptions(), with_portraits, nullptr, AutoencoderKL(nullptr));

    EXPECT_EQ(trainee.status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(SditTraineeTest, TwoMicroBatchesHaveTheGradientOfTheDoubleBatch) {
  SditTrainingOptions whole = TinyOptions(), parts = TinyOptions();
  whole.bfloat16 = parts.bfloat16 = false;  // whose rounding depends on the batch's shape
  parts.clips = whole.clips / 2;
  parts.gradient.accumulate = 2;
  const auto one = Make(whole), two = Make(parts);

  const auto gradient = one->BackPropagate(5), sum = two->BackPropagate(5);

  ASSERT_TRUE(gradient.ok() && sum.ok());
  EXPECT_NEAR(gradient->loss, sum->loss, 1e-5 * gradient->loss);
  EXPECT_EQ(gradient->seeds, sum->seeds);
  testing::ExpectSameGradients(testing::TakeGradients(one->parameters()),
                               testing::TakeGradients(two->parameters()));
}

TEST(SditTraineeTest, MinSnrTrainsForEveryPrediction) {
  for (const Prediction prediction : {Prediction::kEpsilon, Prediction::kV, Prediction::kX0}) {
    SditTrainingOptions options = TinyOptions();
    options.prediction = prediction;
    options.min_snr_gamma = 5;
    const auto trainee = Make(options);

    const std::vector<double> losses = testing::TrainSteps(*trainee, 0, 120, 120);

    EXPECT_LT(testing::Mean(losses, 90, 30), 0.9 * testing::Mean(losses, 0, 30))
        << static_cast<int>(prediction);
  }
}

TEST(MinSnrWeightTest, IsTheFormulaOfEachPrediction) {
  const auto schedule = Schedule::Create("linear", 1000, "");
  ASSERT_TRUE(schedule.ok());
  const torch::Tensor t = torch::tensor({0, 300, 999}, torch::kInt64);
  for (const int i : {0, 1, 2}) {
    const double signal = schedule->alphas_cumprod()[static_cast<size_t>(t[i].item<int64_t>())];
    const double snr = signal / (1 - signal), wanted = std::min(snr, 5.0);
    const auto weight = [&](Prediction prediction) {
      return MinSnrWeight(*schedule, prediction, 5, t)[i].item<double>();
    };
    EXPECT_NEAR(weight(Prediction::kX0), wanted, 1e-3 * wanted);
    EXPECT_NEAR(weight(Prediction::kEpsilon), wanted / snr, 1e-3 * wanted / snr);
    EXPECT_NEAR(weight(Prediction::kV), wanted / (snr + 1), 1e-3 * wanted / (snr + 1));
  }
}

TEST(SditTraineeTest, EyesAndMouthWeighMore) {
  SditTrainingOptions options = TinyOptions();
  options.expressive_weight = 3;
  const auto trainee = Make(options);

  const torch::Tensor weight = trainee->DrawRows(0).weight;

  EXPECT_GE(weight.min().item<double>(), 1);
  EXPECT_LE(weight.max().item<double>(), 4);
  EXPECT_GT(weight.max().item<double>(), 1.01);
}

TEST(SditTraineeTest, WhatSurroundsThemWeighsMoreToo) {
  SditTrainingOptions options = TinyOptions();
  options.expressive_weight = 3;
  const torch::Tensor plain = Make(options)->DrawRows(0).weight;
  options.surround_weight = 5;

  const torch::Tensor extra = Make(options)->DrawRows(0).weight - plain;

  const torch::Tensor near =
      torch::max_pool2d(plain.flatten(0, 1).gt(1).to(torch::kFloat32), 3, 1, 1).view_as(plain);
  EXPECT_TRUE(torch::allclose(extra, 5 * near));
  EXPECT_GT(near.mean().item<double>(), plain.gt(1).to(torch::kFloat32).mean().item<double>());
}

TEST(SditTraineeTest, RowsLongerThanTheClipsAreRefused) {
  SditTrainingOptions options = TinyOptions();
  options.num_frames = 5;  // of 6, and two are needed beside

  const auto trainee = SditTrainee::Create(options, Data(), nullptr, AutoencoderKL(nullptr));

  EXPECT_EQ(trainee.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace reenact
