#include "training/clip_trainer.h"

#include <set>

#include "pipeline/models/clip_preprocess.h"
#include "tests/training/tiny_data.h"

namespace reenact {
namespace {

using testing::TinyData;

ClipTrainingOptions TinyOptions() {
  ClipTrainingOptions options;
  options.image_size = 16;
  options.hidden_size = 32;
  options.depth = 2;
  options.num_heads = 2;
  options.projection_dim = 16;
  options.batch = 6;
  options.warmup_steps = 5;
  return options;
}

std::unique_ptr<ClipTrainee> Make(const ClipTrainingOptions& options = TinyOptions()) {
  auto trainee = ClipTrainee::Create(options, TinyData(), &TinyData());
  if (!trainee.ok()) throw std::runtime_error(trainee.status().ToString());
  return *std::move(trainee);
}

TEST(ClipTraineeTest, LossFallsBelowChance) {
  ClipTrainingOptions options = TinyOptions();
  options.naming = 0;
  const auto trainee = Make(options);

  const std::vector<double> losses = testing::TrainSteps(*trainee, 0, 120, 120);

  // Guessing among 6 people costs ln 6 = 1.79.
  EXPECT_LT(testing::Mean(losses, 110, 10), 1.2);
}

TEST(ClipTraineeTest, APersonIsInABatchOnce) {
  for (const int64_t group : {1, 4, 9}) {
    ClipTrainingOptions options = TinyOptions();
    options.batch = 5;
    options.group = group;
    const auto trainee = Make(options);
    for (int64_t number = 0; number < 20; ++number) {
      const std::vector<int64_t> people = trainee->DrawPeople(number);
      EXPECT_EQ(people.size(), 5u);
      EXPECT_EQ(std::set<int64_t>(people.begin(), people.end()).size(), 5u);
      EXPECT_EQ(people, trainee->DrawPeople(number));
    }
  }
}

// The mean square difference between how alike pictures are and how alike their captions are.
double Inconsistency(ClipTrainee& trainee) {
  const auto tokenizer = ClipTokenizer::FromMerges(trainee.merges(), TinyOptions().max_merges);
  const torch::Tensor pictures = EmbedPictures(trainee.averaged(), TinyData()).select(1, 0);
  const torch::Tensor texts =
      EmbedCaptions(trainee.averaged(), TinyData(), *tokenizer).select(1, 0);
  return (pictures.matmul(pictures.t()) - texts.matmul(texts.t())).square().mean().item<double>();
}

TEST(ClipTraineeTest, ConsistencyMakesCaptionsAsAlikeAsTheirPictures) {
  ClipTrainingOptions options = TinyOptions();
  options.consistency = 0;
  options.alignment = 0;
  options.naming = 0;
  const auto without = Make(options);
  options.consistency = 0.25;
  const auto with = Make(options);
  for (ClipTrainee* trainee : {without.get(), with.get()}) {
    testing::TrainSteps(*trainee, 0, 120, 120);
  }

  EXPECT_LT(Inconsistency(*with), 0.5 * Inconsistency(*without));
}

TEST(ClipTraineeTest, AlignmentBringsPicturesToTheirCaptions) {
  const auto distance = [](double alignment) {
    ClipTrainingOptions options = TinyOptions();
    options.alignment = alignment;
    options.naming = 0;
    const auto trainee = Make(options);
    testing::TrainSteps(*trainee, 0, 60, 60);
    const auto tokenizer = ClipTokenizer::FromMerges(trainee->merges(), options.max_merges);
    const torch::Tensor pictures = EmbedPictures(trainee->averaged(), TinyData()).select(1, 0);
    const torch::Tensor texts =
        EmbedCaptions(trainee->averaged(), TinyData(), *tokenizer).select(1, 0);
    return (pictures - texts).square().sum(1).mean().item<double>();
  };

  EXPECT_LT(distance(4), 0.7 * distance(0));
}

TEST(ClipTraineeTest, NamingReadsWhatTheCaptionsSay) {
  ClipTrainingOptions options = TinyOptions();
  options.consistency = 0;
  options.alignment = 0;
  options.naming = 1;
  const auto trainee = Make(options);

  const std::vector<double> losses = testing::TrainSteps(*trainee, 0, 120, 120);

  // It begins with how often each term holds; the contrast is ln 6 = 1.79 of this at most.
  EXPECT_GT(losses[0], 10);
  EXPECT_LT(testing::Mean(losses, 110, 10), 0.4 * losses[0]);
}

TEST(ClipTraineeTest, ResumesExactly) {
  testing::ExpectExactResume([] { return Make(); }, 3, 7);
}

TEST(ClipTraineeTest, EmbeddingsHaveUnitLengthAndTheCachesShape) {
  const auto trainee = Make();

  const torch::Tensor pictures = EmbedPictures(trainee->averaged(), TinyData());

  EXPECT_EQ(pictures.sizes(), (std::vector<int64_t>{6, 6, 16}));
  EXPECT_TRUE(torch::allclose(pictures.norm(2, -1), torch::ones({6, 6}), 0, 1e-5));
}

TEST(ClipTrainerTest, PicturesEqualClipPreprocess) {
  const DataCache& data = TinyData();
  Image image;
  image.width = image.height = static_cast<int>(data.size());
  const torch::Tensor rgb = data.frames[2][3].permute({1, 2, 0}).contiguous();
  image.rgb.assign(rgb.data_ptr<uint8_t>(), rgb.data_ptr<uint8_t>() + rgb.numel());

  const torch::Tensor ours = ClipStandardize(ClipPictures(data, 16)[2][3].unsqueeze(0))[0];

  EXPECT_TRUE(torch::allclose(ours, ClipPreprocess(image, 16), 0, 1e-6));
}

}  // namespace
}  // namespace reenact
