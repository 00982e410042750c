"""What a file is that is not what its name says: web pages, pointers of Git LFS, other formats, and the way out."""

AGAIN = "fetch it again"
_OPEN = "make it readable (`chmod u+r`)"
_CONVERT = "save it as JPEG or PNG"
_UNPACK = "unpack it"
_STARTS = (
    (b"version https://git-lfs.github.com", "a pointer of Git LFS instead of the file", "run `git lfs pull`"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "save it in the format that its name says"),
    (b"GIF8", "a GIF file", _CONVERT),
    (b"BM", "a BMP file", _CONVERT),
    (b"II*\0", "a TIFF file", _CONVERT),
    (b"MM\0*", "a TIFF file", _CONVERT),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 file", _CONVERT),
    (b"\0\0\0\x0cJXL ", "a JPEG XL file", _CONVERT),
    (b"\xff\x0a", "a JPEG XL file", _CONVERT),
    (b"8BPS", "a Photoshop file", _CONVERT),
    (b"\x93NUMPY", "a NumPy array", _CONVERT),
    (b"%PDF", "a PDF file", _CONVERT),
    (b"PK\3\4", "a zip archive", _UNPACK),
    (b"PK\5\6", "an empty zip archive", AGAIN),
    (b"\x1f\x8b", "compressed by gzip", _UNPACK),
)
_HEIF = (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_MARKUP = (b"<!doctype html", b"<html", b"<head", b"<body")


def after(error: Exception) -> str:
    """Return what to do after a file could not be read: what may not be read, no fetching mends."""
    return _OPEN if isinstance(error, PermissionError) else AGAIN


def kind(content: bytes) -> tuple[str, str]:
    """Return what a file is by its first bytes, and what to do; an empty name and advice to fetch it if unknown."""
    if not content:
        return "an empty file", AGAIN
    if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:15].lower().startswith(_MARKUP):
        return "a web page", "its address asks for something first, or has moved: fetch the file itself"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "a WebP file", _CONVERT
    if content[4:8] == b"ftyp" and content[8:12] in _HEIF:
        return "a HEIF or AVIF file", _CONVERT
    if content[257:262] == b"ustar":
        return "a tar archive", _UNPACK
    return next(((what, advice) for start, what, advice in _STARTS if content.startswith(start)), ("", AGAIN))
