"""A search on images of your own: anything that gives pairs (image, label) by number.

    python examples/own_data.py

Here they are scikit-learn's handwritten digits, as floats from 0 to 1. The last fifth is left out of the search, as
test images should be. It takes half a minute on a CPU, and leaves the front as front.html.
"""

import numpy as np
from sklearn.datasets import load_digits
from torch.utils.data import Dataset, Subset

import nas


class Digits(Dataset):
    """1,797 grey images of 8 x 8 pixels."""

    def __init__(self):
        bunch = load_digits()
        self.images, self.classes = bunch.images / 16, [str(name) for name in bunch.target_names]
        self.labels = bunch.target.tolist()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.images[i], self.labels[i]


def main():
    every = Digits()
    first = np.arange(len(every) * 4 // 5)  # the rest is for a test that you do yourself, at the end
    images = nas.Images(Subset(every, first.tolist()), classes=every.classes)

    # The space's images have the same size and as many classes; its shares say how search-val and report-val are cut.
    study = nas.search("spikformer_tiny", data=images, trials=5, study="own_data", epochs=1, references=False)
    print(study)
    print(study.to_dataframe()[["network", "report_val_accuracy", "energy_mj", "on_front"]].to_string())
    nas.plot_front(study).write_html("front.html")  # in a notebook: nas.plot_front(study)


if __name__ == "__main__":
    main()
