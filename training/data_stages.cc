// `people` and `data`: drawing the people.
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "pipeline/media/image_codec.h"
#include "training/data_cache.h"
#include "training/landmarker_option.h"
#include "training/people/people.h"
#include "training/stages.h"

namespace reenact {
namespace {

struct DataFlags : DataOptions {
  bool find_landmarks = false;
  std::string face_models;
};

struct PeopleOptions {
  std::string preview;
  uint64_t first_seed = 0;
  int columns = 8, rows = 4, size = 192;
  uint64_t phrasing = 0;
  bool detailed = false;
  Variety variety = Variety::kPlain;
};

void AddVarietyOption(CLI::App& command, Variety& variety) {
  command
      .add_option("--variety", variety,
                  "plain (what the demo bundle knows), or rich: patterns, more lights, cameras")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, Variety>{{"plain", Variety::kPlain}, {"rich", Variety::kRich}}))
      ->default_str("plain");
}

absl::Status Preview(const PeopleOptions& options) {
  const auto png = EncodePng(ContactSheet(options.first_seed, options.columns, options.rows,
                                          options.size, options.variety));
  if (!png.ok()) return png.status();
  std::ofstream out(options.preview, std::ios::binary);
  out << *png;
  out.close();
  if (!out) return absl::UnavailableError(absl::StrCat("cannot write ", options.preview));
  for (int i = 0; i < options.columns * options.rows; ++i) {
    const uint64_t seed = options.first_seed + static_cast<uint64_t>(i);
    std::cout << seed << ": "
              << Caption(MakePerson(seed, options.variety), options.phrasing,
                         options.detailed ? CaptionDetail::kDetailed : CaptionDetail::kShort)
              << '\n';
  }
  return absl::OkStatus();
}

}  // namespace

void AddPeopleStage(CLI::App& app, std::vector<Subcommand>& stages) {
  auto options = std::make_shared<PeopleOptions>();
  CLI::App* command =
      app.add_subcommand("people", "draw a sheet of people and print their captions");
  command->add_option("--preview", options->preview, "PNG file to write")->required();
  command->add_option("--seed", options->first_seed, "first person")->capture_default_str();
  command->add_option("--columns", options->columns)
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command->add_option("--rows", options->rows)->check(CLI::Range(1, 100))->capture_default_str();
  command->add_option("--size", options->size, "pixels of one picture")
      ->check(CLI::Range(16, 1024))
      ->capture_default_str();
  command->add_option("--phrasing", options->phrasing, "of the captions, 0 to 7")
      ->capture_default_str();
  command->add_flag("--detailed", options->detailed, "captions with build, make-up, light, camera");
  AddVarietyOption(*command, options->variety);
  stages.push_back({command, [options](const StageContext&) { return Preview(*options); }});
}

void AddDataStage(CLI::App& app, std::vector<Subcommand>& stages) {
  auto options = std::make_shared<DataFlags>();
  CLI::App* command = app.add_subcommand("data", "draw the training pictures into a folder");
  command->add_option("--out", options->out, "folder")->required();
  command->add_option("--people", options->people)->capture_default_str();
  command->add_option("--frames", options->frames, "frames kept of each person's clip")
      ->capture_default_str();
  command->add_option("--size", options->size, "pixels")->capture_default_str();
  command->add_option("--supersampling", options->supersampling)->capture_default_str();
  command->add_option("--lookalikes", options->lookalikes, "other faces per frame, landmarks only")
      ->capture_default_str();
  command->add_option("--captions", options->captions, "phrasings per person")
      ->capture_default_str();
  command->add_flag("--detailed-captions", options->detailed_captions,
                    "every second phrasing names build, make-up, light and camera too");
  command
      ->add_option("--partial-captions", options->partial_captions,
                   "captions per person on top that name one to four things only")
      ->capture_default_str();
  AddVarietyOption(*command, options->variety);
  command->add_flag("--separate-clips", options->separate_clips,
                    "every frame from a clip of its own: portraits for `sdit --portraits`");
  command
      ->add_option("--looks", options->looks,
                   "draw each person with so many looks, each counted as a person, for `clip`")
      ->capture_default_str();
  command->add_flag("--changed-looks", options->changed_looks,
                    "with --separate-clips: every frame has other hair, clothes, glasses, ...");
  command
      ->add_option("--eye-play", options->eye_play,
                   "share of the frames whose eyes are more or less closed and look anywhere")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command
      ->add_option("--head-play", options->head_play,
                   "share of the frames whose heads are turned anywhere, up to 40 degrees")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_flag("--find-landmarks", options->find_landmarks,
                    "also what the landmark network finds in the pictures and in ones of the "
                    "lookalikes, for `sdit --found-landmarks`");
  AddFaceModelsOption(*command, options->face_models);
  command
      ->add_option(
          "--seed", options->first_seed,
          absl::StrCat("first person; from ", kFirstHeldOutSeed, " on they are never trained on"))
      ->capture_default_str();
  stages.push_back({command, [options](const StageContext& context) {
                      DataOptions run = *options;
                      run.threads = context.threads;
                      run.stop = context.stop;
                      if (options->find_landmarks) {
                        run.open_landmarker = [options] {
                          return OpenLandmarker(options->face_models);
                        };
                      }
                      return WriteDataCache(run, std::cout);
                    }});
}

}  // namespace reenact
