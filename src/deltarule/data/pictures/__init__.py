"""Folders of pictures as data: looked at, read, decoded as they are needed, encoded to predict.

``decode.py`` is one file, ``folder.py`` what lies where, ``rule.py`` what every picture becomes,
``workers.py`` several processes, ``store.py`` the cache on disk, ``unread.py`` pictures that stay
in their files; ``survey.py`` looks, ``read.py`` decodes everything once. Pillow is an extra,
imported when the first file is opened.
"""

from deltarule.data.pictures.decode import LIMIT_PIXELS, BadPictureError
from deltarule.data.pictures.folder import PictureFile, list_folder, list_pictures
from deltarule.data.pictures.read import PictureSet, read_images
from deltarule.data.pictures.rule import Pictures
from deltarule.data.pictures.survey import PictureFolder, survey_images

__all__ = [
    "LIMIT_PIXELS",
    "BadPictureError",
    "PictureFile",
    "PictureFolder",
    "PictureSet",
    "Pictures",
    "list_folder",
    "list_pictures",
    "read_images",
    "survey_images",
]
