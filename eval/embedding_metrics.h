// How alike pictures are by their embeddings. Which network embeds is the caller's business; the
// paper takes CLIP's image tower, and so does reenact-eval (the bundle's own).
//
// Pure functions, thread-safe.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

namespace reenact {

using Embedding = std::vector<float>;  // not zero; all of one comparison have one length

double Cosine(const Embedding& a, const Embedding& b);

// The paper's CSIM of one video (section 4.2): the least cosine of the source and a frame. There is
// a frame.
double Csim(const Embedding& source, const std::vector<Embedding>& frames);

// The least cosine of two frames of a video. No value: fewer than two frames.
std::optional<double> LeastSelfCosine(const std::vector<Embedding>& frames);

// The paper's Self-CSIM: |least cosine within the generated video - that within the driving one|.
std::optional<double> SelfCsim(const std::vector<Embedding>& generated,
                               const std::vector<Embedding>& driving);

// The share of `others` whose Csim with the frames is below that of `source`, 0..1: 1 = no other
// person fits as well. There is another.
double ShareLessAlike(const Embedding& source, const std::vector<Embedding>& others,
                      const std::vector<Embedding>& frames);

// How far the frames have gone from the source towards the driver: the mean over the frames of
// (cos(frame, driver) - cos(source, driver)) / (1 - cos(source, driver)). 0: as unlike the driver
// as the source is; 1: the driver himself; below 0: less like him. No value: source and driver look
// the same.
std::optional<double> IdentityLeak(const Embedding& source, const Embedding& driver,
                                   const std::vector<Embedding>& frames);

// The mean of unit vectors, of unit length itself. There is one.
Embedding MeanEmbedding(const std::vector<Embedding>& embeddings);

// The share of rows i for which `texts[i]` is the nearest of all texts to `pictures[i]`, 0..1. As
// many texts as pictures, one or more.
double RetrievalTop1(const std::vector<Embedding>& pictures, const std::vector<Embedding>& texts);

}  // namespace reenact
