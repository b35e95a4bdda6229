// The things that captions name.
#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

namespace reenact {

// Each two words that follow each other in one item of the caption's enumerations, and a space with
// the item's first word; sorted, each once. Red hair and a blue shirt share none with blue hair and
// a red shirt but the words that items begin with.
std::vector<std::string> CaptionTerms(const std::string& caption);

// What holds of whom.
struct TermTable {
  std::vector<std::string> terms;  // [T], sorted
  torch::Tensor holds;             // float32 [P,T], 1 where the person's first caption names it
};

// The terms of the first of each person's `captions` [P][phrasing], which names all there is to see
// in one phrasing, that hold for at least a hundredth and at most 9 in 10 people. What the others
// happen to leave out would be noise.
TermTable TabulateTerms(const std::vector<std::vector<std::string>>& captions);

}  // namespace reenact
