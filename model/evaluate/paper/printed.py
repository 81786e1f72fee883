"""What the paper prints in its tables, to stand beside ours."""

TABLE_1 = {  # number, percentage
    ("Sex", "Male"): (117, "52.94%"),
    ("Sex", "Female"): (104, "47.06%"),
    ("ICH", "Yes"): (8244, "65.16%"),
    ("ICH", "No"): (4407, "34.84%"),
    ("Hemorrhage Location", "Deep"): (6093, "73.91%"),
    ("Hemorrhage Location", "Lobar"): (1656, "20.09%"),
    ("Hemorrhage Location", "Subtentorial"): (495, "6%"),
}
TABLE_2 = {
    "Patch Size": 16,
    "Embedding Dimension": 1024,
    "Attention Heads": 16,
    "MLP Dimension": 4096,
    "Parameters": 304326632,
}
TABLE_3 = {  # classifier, augmented: accuracy, precision, recall, F1, specificity
    ("Classifier 1", True): (1.0, 1.0, 1.0, 1.0, 1.0),
    ("Classifier 1", False): (0.996, 0.991, 1.0, 0.995, 0.995),
    ("Classifier 2", True): (0.996, 0.998, 0.997, 0.997, 1.0),
    ("Classifier 2", False): (0.992, 0.994, 0.996, 0.995, 0.995),
}
TABLE_4 = {  # loss, accuracy, precision, recall, F1, specificity; all with augmentation
    "dtvit": (0.0102, 0.9988, 0.9991, 0.9983, 0.9987, 1.0),
    "resnet18": (0.0170, 0.9984, 0.9989, 0.9983, 0.9986, 0.9993),
    "alexnet": (0.0142, 0.9976, 0.9989, 0.9983, 0.9986, 0.9994),
    "squeezenet": (0.1244, 0.9775, 0.990, 0.9889, 0.9895, 0.9993),
    "densenet": (0.0119, 0.9976, 1.0, 0.9964, 0.9981, 1.0),
}
